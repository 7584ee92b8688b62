"""Where bytes lie is a promise to whoever keeps a backup."""

from uuid import UUID

import pytest

from drs_service.blobs.keys import digest_of, identity_key, key_for, name_key, new_probe_key
from drs_service.domain.digest import Digest

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
KEY = f"sha256/9f/86/{HEX}"


def test_the_key_of_a_digest_is_this_text() -> None:
    assert key_for(Digest.from_hex(HEX)) == KEY


def test_a_key_leads_back_to_its_digest() -> None:
    assert digest_of(KEY) == Digest.from_hex(HEX)


def test_the_key_of_an_identity_is_this_text() -> None:
    text = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
    assert identity_key(UUID(text)) == f"identity/{text}"
    assert digest_of(identity_key(UUID(text))) is None


def test_the_key_of_a_name_is_this_text_and_no_blobs() -> None:
    assert name_key("cold-2") == "place/cold-2"
    assert digest_of(name_key("cold-2")) is None


def test_every_probe_has_a_key_of_its_own_which_is_no_blobs() -> None:
    one, another = new_probe_key(), new_probe_key()
    assert one != another
    assert digest_of(one) is None


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        HEX,
        f"/{KEY}",
        f"{KEY}/",
        f"{KEY}\n",
        f"{KEY}.part",
        f"other/{KEY}",
        f"sha256/{HEX}",
        f"sha256/9f/{HEX}",
        f"sha256/9f/87/{HEX}",
        f"sha256/9f/86/{HEX[:-1]}",
        f"sha256/9f/86/{HEX}0",
        f"sha256/9f/86/{HEX[:-1]}g",
        f"sha256/9F/86/{HEX}",
        f"sha256/9f/86/{HEX.upper()}",
        f"sha512/9f/86/{HEX}",
        f"staging/9f/86/{HEX}",
        "sha256/README.txt",
    ],
)
def test_a_key_that_is_not_written_by_us_has_no_digest(foreign: str) -> None:
    assert digest_of(foreign) is None
