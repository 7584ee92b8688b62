"""From a URL and its options to a file system of fsspec."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec
from fsspec import AbstractFileSystem

from drs_service.blobs.access import FsspecAccess
from drs_service.blobs.lanes import Connect
from drs_service.errors import SettingsInvalid

SECRET_OPTION = "secret_option"  # noqa: S105  # the name of one, and no secret
EXTRAS = {"sftp": "sftp", "ssh": "sftp"}


def connecting(url: str, access: FsspecAccess) -> tuple[str, Connect]:
    """The directory that url means, and how its file system is reached: a new one each time. SettingsInvalid."""
    protocol = urlsplit(url).scheme
    try:
        kind = file_system(protocol)
    except (ImportError, ValueError) as error:
        extra = f": pip install 'drs-service[{EXTRAS[protocol]}]'" if protocol in EXTRAS else ""
        raise SettingsInvalid(f"{protocol}:// cannot be used: {error}{extra}") from error
    if kind.mv is AbstractFileSystem.mv:
        raise SettingsInvalid(
            f"{protocol}:// cannot be used: it has no rename, and a file would be seen before its end"
        )
    return unquote(kind._strip_protocol(url)), partial(connect, kind, options_of(url, kind, access))


def file_system(protocol: str) -> Any:
    """ImportError, ValueError."""
    if protocol in EXTRAS:
        from drs_service.blobs.sftp import Sftp

        return Sftp
    return fsspec.get_filesystem_class(protocol)


def options_of(url: str, kind: Any, access: FsspecAccess) -> dict[str, Any]:
    said = dict(access.options)
    secret = {said.pop(SECRET_OPTION, "password"): access.secret} if access.secret is not None else {}
    return {**kind._get_kwargs_from_urls(url), **{name: value(text) for name, text in said.items()}, **secret}


def value(text: str) -> str | int | bool:
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if re.fullmatch(r"\d{1,9}", text) else text


def connect(kind: Any, options: Mapping[str, Any]) -> AbstractFileSystem:
    files = kind(**options, skip_instance_cache=True)
    files.dircache.use_listings_cache = False  # as an option it would reach libraries that do not know it
    return files
