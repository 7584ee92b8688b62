"""Addresses of the network: which are everybody's, and which lead into a house."""

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 6052 2.1: an IPv4 address in its last 32 bits, to which a translator passes everything on.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What Python takes for public. 192.0.0.0/24 is IANA's for protocols (some clouds tell credentials there), and
# 168.63.129.16 is how every machine on Azure reaches what runs it.
_NOT_PUBLIC = (ipaddress.IPv4Network("192.0.0.0/24"), ipaddress.IPv4Network("168.63.129.16"))


def network(text: str) -> Network:
    """An address, or a network in CIDR notation. ValueError."""
    return ipaddress.ip_network(text)


def may_be_asked(text: str, *, also: Sequence[Network] = ()) -> bool:
    """Whether a stranger's URL may lead to this address: it is public, or in one of the networks of also.

    Not public is what a machine is to itself, to its link (169.254.169.254 tells cloud machines their credentials) and
    to its own network; what is for groups, reserved, or stands for any; and an IPv6 address that stands for such a one.
    """
    address: Address = ipaddress.ip_address(text.partition("%")[0])  # fe80::1%eth0
    address = meant(address)
    if any(address in one for one in also if one.version == address.version):
        return True
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_private
        or any(address in one for one in _NOT_PUBLIC)
        or (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)
    )


def meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
