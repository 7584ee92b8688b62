"""The Repr-Digest header (RFC 9530)."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.digest import Digest
from drs_service.domain.digest_fields import parse_repr_digest, parse_want_repr_digest, repr_digest
from drs_service.errors import DigestMalformed

OURS = Digest(hashlib.sha256(b"ours").digest())
OTHER = Digest(hashlib.sha256(b"other").digest())
VALUE = f":{OURS.base64}:"
SHA_512 = "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:"


@pytest.mark.parametrize(
    "header",
    [
        f"sha-256={VALUE}",
        f"  sha-256={VALUE} ",
        f"sha-256={VALUE}, {SHA_512}",
        f"{SHA_512}\t,\t sha-256={VALUE}",
        f"sha-256={VALUE};x=1",
        f'sha-256={VALUE}; x="a, b";y;*z=:AA==:,{SHA_512};q=0.5',
        f"sha-256={VALUE.replace('=', '')}",
    ],
)
def test_a_stated_digest_is_read(header: str) -> None:
    assert parse_repr_digest(header) == OURS


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "  ", SHA_512, "md5=:AA==:", "crc32c=-5", "a=1.5", 'a="x, sha-256=y"', "a=*tok/en:x", "a=?1", "a"),
        *("a=()", "a=( 1 2;x  :AA==: );y=1", "a;x;y=2", "a=(tok), b", "*a=1", "a_b-c.d*=1", "sha-256x=1", "unixsum=0"),
    ],
)
def test_without_a_sha_256_no_digest_is_stated(header: str | None) -> None:
    assert parse_repr_digest(header) is None


@pytest.mark.parametrize(
    "value",
    [
        *("", "=", "=::", "=:AA==:", f"={OURS.base64}", f"=:{OURS.hex}:", f'="{OURS.base64}"', "=5", "=?1", "=tok"),
        *(f"=({VALUE})", f"=:{OURS.base64}=:", f"=:={OURS.base64[1:]}:", f"=:{OURS.base64[:-4]}AA==:", "=:AAAAA:"),
        "=:" + "A" * 88 + ":",
    ],
)
def test_a_sha_256_that_is_not_32_bytes_is_malformed(value: str) -> None:
    with pytest.raises(DigestMalformed):
        parse_repr_digest("sha-256" + value)


@pytest.mark.parametrize(
    "header",
    [
        f"SHA-256={VALUE}",
        f"sha-256={OURS.hex}",
        f"sha-256 ={VALUE}",
        f"sha-256= {VALUE}",
        f"sha-256={VALUE},",
        f",sha-256={VALUE}",
        f"sha-256={VALUE},,{SHA_512}",
        f"sha-256={VALUE} {SHA_512}",
        f"sha-256={VALUE};",
        f"sha-256={VALUE};X=1",
        f"sha-256={VALUE} ;x=1",
        f"sha-256={VALUE}, sha-512=:AA==",
        f"sha-256={VALUE}, a=:A_-A:",
        f'sha-256={VALUE}, a="x',
        f'sha-256={VALUE}, a="\\x"',
        f"sha-256={VALUE}, a=(1 2",
        f"sha-256={VALUE}, a=((1))",
        f"sha-256={VALUE}, a=(1:AA==:)",
        f"sha-256={VALUE}, a=1234567890123456",
        f"sha-256={VALUE}, a=1.",
        f"sha-256={VALUE}, a=ä",
        f"sha-256={VALUE}\n",
        f"=:{OURS.base64}:",
        "\tsha-256",
        "1",
    ],
)
def test_a_header_that_is_no_dictionary_is_malformed(header: str) -> None:
    with pytest.raises(DigestMalformed):
        parse_repr_digest(header)


@pytest.mark.parametrize("first", [f"sha-256=:{OTHER.base64}:", "sha-256=:AA==:", "sha-256"])
def test_the_last_of_two_digests_counts(first: str) -> None:
    assert parse_repr_digest(f"{first}, {SHA_512}, sha-256={VALUE}") == OURS


def test_a_last_digest_that_is_malformed_counts_too() -> None:
    with pytest.raises(DigestMalformed):
        parse_repr_digest(f"sha-256={VALUE}, sha-256")


@pytest.mark.parametrize(
    "header",
    [
        "a=" + "(" * 30_000,
        "a=(" + " " * 30_000,
        "a;" * 30_000,
        "a=1, " * 12_000,
        'a="' + "\\\\" * 30_000,
        "a=(1 " * 9000,
    ],
)
def test_a_long_malformed_header_is_refused_in_one_pass(header: str) -> None:
    with pytest.raises(DigestMalformed):
        parse_repr_digest(header)


def test_the_example_of_the_rfc_is_written_as_printed() -> None:
    # RFC 9530 appendix B.1.
    digest = Digest(hashlib.sha256(b'{"hello": "world"}\n').digest())
    assert repr_digest(digest) == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


@given(st.binary(min_size=32, max_size=32).map(Digest))
def test_what_we_write_we_read(digest: Digest) -> None:
    assert parse_repr_digest(repr_digest(digest)) == digest


@given(st.text(alphabet='sha-256=:,; ()"A1?', max_size=40))
def test_a_header_is_read_or_malformed_and_nothing_else(header: str) -> None:
    try:
        parse_repr_digest(header)
    except DigestMalformed:
        return


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, set()),
        ("", set()),
        ("md5=1", {"md5"}),
        ("md5=10, sha-512=3, sha=1, crc32c=2", {"md5", "sha-512", "sha1", "crc32c"}),
        ("md5=0, unixsum=5", set()),
    ],
)
def test_what_is_wanted_and_can_be_worked_out(header: str | None, wanted: set[str]) -> None:
    assert parse_want_repr_digest(header) == wanted


@pytest.mark.parametrize("header", ["md5", "md5=yes", "md5=1.5", "md5=-1", "md5=1,", "=1"])
def test_what_is_wanted_in_another_form_is_refused(header: str) -> None:
    with pytest.raises(DigestMalformed):
        parse_want_repr_digest(header)
