"""The module that GA4GH's suite imports and does not bring along; what else it needs before it may run is done here.

It is imported before the suite asks for anything. Its imports look up the name of this machine, and what it validates
could lead anywhere: here it reaches loopback and nothing else.
"""

import ipaddress
import sys

SUPPORTED_DRS_VERSIONS = ["1.2.0"]

RESOLVING = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
SENDING = {"socket.connect", "socket.sendto", "socket.sendmsg"}


def stay_here(event: str, arguments: tuple[object, ...]) -> None:
    if event in SENDING:
        address = arguments[1]
    elif event in RESOLVING:
        address = arguments[0]
    else:
        return
    host = address[0] if isinstance(address, tuple) else address
    if host not in (None, "", "localhost") and not is_loopback(str(host)):
        raise OSError(f"Not from here: {event} {host}")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


sys.addaudithook(stay_here)
