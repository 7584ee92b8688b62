"""Checksums that are worked out here, against values that others published."""

import pytest

from drs_service.domain.checksums import COMPUTABLE, SIZES, hasher

# Of "123456789", from the catalogue of CRC parameters, RFC 1321 and the tools of coreutils.
CHECK = b"123456789"
PUBLISHED = {
    "crc32": "cbf43926",
    "crc32c": "e3069283",
    "md5": "25f9e794323b453885f5181f1b624d0b",
    "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "sha-256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_value_is_the_published_one(name: str) -> None:
    one = hasher(name)
    for chunk in (CHECK[:3], bytearray(CHECK[3:5]), memoryview(CHECK)[5:], b""):
        one.update(chunk)
    assert one.hexdigest() == PUBLISHED[name]


@pytest.mark.parametrize("name", sorted(COMPUTABLE))
def test_a_value_is_as_long_as_it_is_said_to_be(name: str) -> None:
    assert len(hasher(name).hexdigest()) == 2 * SIZES[name]
