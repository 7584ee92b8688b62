"""What a stranger's URL may lead to."""

import pytest

from drs_service.domain.addresses import may_be_asked, network


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "193.62.193.80",
        "2606:4700:4700::1111",
        "64:ff9b::101:101",  # 1.1.1.1, behind a translator
        "::ffff:1.1.1.1",
        "2002:101:101::1",
    ],
)
def test_what_is_public_may_be_asked(address: str) -> None:
    assert may_be_asked(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.8",
        "192.0.0.192",
        "168.63.129.16",
        "192.0.2.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "232.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::1",
        "2001::7f00:1",
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "100::1",
    ],
)
def test_what_leads_into_a_house_may_not(address: str) -> None:
    assert not may_be_asked(address)


def test_the_operator_opens_what_he_names_and_no_more() -> None:
    also = [network("10.1.0.0/16"), network("fd00::5"), network("127.0.0.1")]
    assert all(
        may_be_asked(one, also=also) for one in ("10.1.255.1", "fd00::5", "127.0.0.1", "::ffff:10.1.0.1", "1.1.1.1")
    )
    assert not any(may_be_asked(one, also=also) for one in ("10.2.0.1", "fd00::6", "127.0.0.2", "::1"))
