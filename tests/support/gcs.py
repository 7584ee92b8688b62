"""One server of Google Cloud Storage for the run: an emulator, which asks nobody who he is."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx

from drs_service.blobs.access import Access, GcsAccess
from tests.support.gcs_serve import BUCKET
from tests.support.program import Program, free_port

SERVE = Path(__file__).parent / "gcs_serve.py"


class GcsServer:
    """A running server, and a way past our drivers."""

    scheme = "gs"
    bucket = BUCKET
    no_such_bucket = "bucket does not exist"
    wrong_secret: str | None = None
    tries = 10

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self._program = Program(
            sys.executable, str(SERVE), str(port), str(directory / "kept"), port=port, output=directory / "output"
        )
        self.url = self._program.url
        self._client = httpx.Client(base_url=self.url, timeout=30)

    @classmethod
    @contextmanager
    def started(cls, directory: Path) -> Iterator["GcsServer"]:
        (directory / "kept").mkdir(parents=True)
        server = cls(directory)
        try:
            server._program.run()
            yield server
        finally:
            server._client.close()
            server._program.end()

    def access(self, *, url: str | None = None, secret: str | None = None) -> Access:
        assert secret is None
        return Access(gcs=GcsAccess(endpoint_url=url or self.url))

    def settings(self) -> dict[str, str]:
        """As whoever runs the service would set them."""
        return {"DRS_GCS_ENDPOINT_URL": self.url}

    def get(self, name: str) -> bytes | None:
        answer = self._client.get(f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}", params={"alt": "media"})
        return None if answer.status_code == 404 else answer.raise_for_status().content

    def put(self, name: str, content: bytes) -> None:
        head = b"--b\r\nContent-Type: application/json\r\n\r\n%b\r\n--b\r\n\r\n" % json.dumps({"name": name}).encode()
        url = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart"
        self._client.post(url, content=head + content + b"\r\n--b--\r\n").raise_for_status()

    def names(self, prefix: str) -> list[str]:
        found: list[str] = []
        params = {"prefix": prefix}
        while True:
            page = self._client.get(f"/storage/v1/b/{BUCKET}/o", params=params).raise_for_status().json()
            found += [one["name"] for one in page["items"]]
            if "nextPageToken" not in page:
                return found
            params["pageToken"] = page["nextPageToken"]

    def begun(self, prefix: str) -> list[str]:
        return []  # parts are objects, and named with the others

    def go_away(self) -> None:
        """Stop answering; what is kept stays."""
        self._program.end()

    def come_back(self) -> None:
        self._program.run()
