"""The URLs that clients see. They come from the public URL of the settings, never from a request's Host header."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from drs_service.domain.candidates import FromObject, FromUpload
from drs_service.domain.drs_uri import DrsUri, HostnameUri
from drs_service.domain.object_ids import self_uri
from drs_service.domain.places import Bucket
from drs_service.errors import AccessMethodInvalid

DRS_PATH = "/ga4gh/drs/v1"


class PublicUrls:
    def __init__(self, public_url: str, *, buckets: Sequence[Bucket] = (), signed: Sequence[str] = ()) -> None:
        """buckets that clients may read themselves; signed are places of which they get signed URLs."""
        self.buckets = buckets
        self.signed = signed
        self._base = public_url.rstrip("/")
        self._hostname = urlsplit(public_url).hostname or ""
        self._drs = self_uri(self._hostname, "")

    @property
    def hostname(self) -> str:
        return self._hostname

    @property
    def path(self) -> str:
        """Below which everything is: empty, or with a slash at its beginning."""
        return urlsplit(self._base).path

    def object(self, object_id: str) -> str:
        return f"{self._base}{DRS_PATH}/objects/{object_id}"

    def data(self, object_id: str) -> str:
        return f"{self._base}/data/{object_id}"

    def upload(self, upload_id: str) -> str:
        return f"{self._base}/uploads/{upload_id}"

    def parts(self, upload_id: str) -> str:
        return f"{self._base}/uploads/{upload_id}/parts"

    def tus(self, upload_id: str) -> str:
        return f"{self._base}/tus/{upload_id}"

    def session(self, session_id: str) -> str:
        return f"{self._base}/sessions/{session_id}"

    def enter(self, session_id: str, code: str) -> str:
        """Where a session is opened in a browser. A code has nothing to be encoded."""
        return f"{self._base}/sessions/{session_id}/enter?code={code}"

    def socket(self, session_id: str) -> str:
        """Where the workspace of a session is driven."""
        return f"{self._base}/socket/{session_id}"

    def source(self, url: str) -> FromObject | FromUpload | None:
        """What one of our own URLs of bytes refers to; None for a URL of somebody else's. AccessMethodInvalid."""
        path, _, name = url.rpartition("/")
        if path == f"{self._base}/data":
            return FromObject(name)
        if path in {f"{self._base}/uploads", f"{self._base}/tus"}:
            return FromUpload(name)
        if url == self._base or url.startswith(f"{self._base}/"):
            raise AccessMethodInvalid(
                f"{url} is a URL of this service, but not of the bytes of an object or an upload."
            )
        return None

    def object_id(self, uri: DrsUri) -> str | None:
        """The id that one of our own DRS URIs has; None for any other."""
        ours = isinstance(uri, HostnameUri) and uri.hostname.lower() == self._hostname.lower()
        return uri.object_id if ours and isinstance(uri, HostnameUri) else None

    def drs(self, object_id: str) -> str:
        """Hostname-based, and without a port, which DRS forbids there. An id has nothing to be encoded."""
        return self._drs + object_id
