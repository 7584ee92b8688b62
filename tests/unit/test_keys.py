"""Where bytes lie is a promise to whoever keeps a backup."""

import pytest

from drs_service.blobs.keys import digest_of, key_for
from drs_service.domain.digest import Digest

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
KEY = f"sha256/9f/86/{HEX}"


def test_the_key_of_a_digest_is_this_text() -> None:
    assert key_for(Digest.from_hex(HEX)) == KEY


def test_a_key_leads_back_to_its_digest() -> None:
    assert digest_of(KEY) == Digest.from_hex(HEX)


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
