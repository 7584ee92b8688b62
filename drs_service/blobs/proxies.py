"""Whom requests to object stores go through: HTTP_PROXY, HTTPS_PROXY and NO_PROXY say it to us as to botocore."""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_of(url: str) -> str | None:
    """The URL of a proxy, credentials included; None if it is asked straight."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
