"""Who asks Google: a service account, or whom Google's own library finds."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from drs_service.blobs.access import GcsAccess
from drs_service.blobs.bucket import Overrides
from drs_service.blobs.cloud_http import Request
from drs_service.errors import SettingsInvalid, StorageUnavailable

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
TIMEOUT = 5  # seconds for a new token


class Keys(Protocol):
    async def sign(self, request: Request) -> Request: ...

    def presigned(self, url: str, *, valid: timedelta, overrides: Overrides) -> str:
        """StorageUnavailable if nothing here can sign."""


class Nobody:
    """For servers that ask for no name."""

    async def sign(self, request: Request) -> Request:
        return request

    def presigned(self, url: str, *, valid: timedelta, overrides: Overrides) -> str:
        raise StorageUnavailable("Only a service account can sign URLs.")


class Token:
    """Its library blocks, so it is asked in a thread, and only when the token ends soon.

    It is an extra, and takes a while to import: most services do without.
    """

    def __init__(self, file: Path | None) -> None:
        if not all(map(is_installed, ("google.auth", "requests"))):
            raise SettingsInvalid("gs:// needs more than is installed: pip install 'drs-service[gcs]'")
        self._file = file
        self._credentials: Any = None
        self._turn = asyncio.Lock()

    async def sign(self, request: Request) -> Request:
        if not self._is_good:
            async with self._turn:
                if not self._is_good:
                    await self._renew()
        return request.with_headers(Authorization=f"Bearer {self._credentials.token}")

    @property
    def _is_good(self) -> bool:
        return self._credentials is not None and bool(self._credentials.valid)

    async def _renew(self) -> None:
        from google.auth.exceptions import GoogleAuthError

        try:
            async with asyncio.timeout(2 * TIMEOUT):
                await asyncio.to_thread(self._renew_now)
        except (GoogleAuthError, OSError, ValueError, TimeoutError) as error:
            raise StorageUnavailable("Google gives no token to whom asks.", reason=str(error)) from error

    def _renew_now(self) -> None:
        from google.auth.transport.requests import Request as Asking

        self._credentials = self._credentials or credentials(self._file)
        self._credentials.refresh(partial(Asking(), timeout=TIMEOUT))

    def presigned(self, url: str, *, valid: timedelta, overrides: Overrides) -> str:
        self._credentials = self._credentials or credentials(self._file)
        return presigned(url, self._credentials, now=datetime.now(UTC), valid=valid, overrides=overrides)


def credentials(file: Path | None) -> Any:
    import google.auth
    from google.oauth2 import service_account

    if file is not None:
        return service_account.Credentials.from_service_account_file(str(file), scopes=[SCOPE])
    found, _ = google.auth.default(scopes=[SCOPE])
    return found


def presigned(url: str, credentials: Any, *, now: datetime, valid: timedelta, overrides: Overrides) -> str:
    """https://cloud.google.com/storage/docs/authentication/canonical-requests"""
    if not hasattr(credentials, "sign_bytes"):
        raise StorageUnavailable("Only a service account can sign URLs.")
    parts, stamp = urlsplit(url), now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/auto/storage/goog4_request"
    said = {
        "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
        "X-Goog-Credential": f"{credentials.service_account_email}/{scope}",
        "X-Goog-Date": stamp,
        "X-Goog-Expires": str(int(valid.total_seconds())),
        "X-Goog-SignedHeaders": "host",
        "response-content-disposition": overrides.content_disposition,
        "response-content-type": overrides.content_type,
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(said.items()) if value is not None)
    lines = ("GET", parts.path, query, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD")
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    signature = credentials.sign_bytes("\n".join(("GOOG4-RSA-SHA256", stamp, scope, digest)).encode()).hex()
    return f"{url}?{query}&X-Goog-Signature={signature}"


def keys_of(access: GcsAccess) -> Keys:
    """SettingsInvalid."""
    if access.endpoint_url is not None and access.credentials_file is None:
        return Nobody()
    return Token(access.credentials_file)


def is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even what it is a part of
        return False
