"""Web origins as browsers say them in the Origin field (RFC 6454 6.2)."""

import ipaddress
import re

ANY_ORIGIN = "*"  # in a list of origins: every one, for reading
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:]+\])(?::([1-9]\d{0,4}))?")
_OWN_PORTS = {"http": 80, "https": 443}  # browsers leave these out


def is_origin(text: str) -> bool:
    """Whether a browser can send it: an origin that is spelled otherwise would let in nobody, and not say so."""
    parts = _ORIGIN.fullmatch(text)
    if parts is None:
        return False
    scheme, host, port = parts.groups()
    if host.startswith("[") and not _is_shortest_ipv6(host[1:-1]):
        return False
    return port is None or (int(port) <= 65535 and int(port) != _OWN_PORTS.get(scheme))


def _is_shortest_ipv6(text: str) -> bool:
    try:
        return str(ipaddress.IPv6Address(text)) == text
    except ValueError:
        return False
