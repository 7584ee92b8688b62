"""gcp-storage-emulator with what it leaves out and we rely on, as a process: `gcs_serve.py PORT DIRECTORY`.

It ignores conditions and generations, gives every listing whole, and takes one request after another.
"""

import io
import json
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, unquote, urlsplit

from gcp_storage_emulator.exceptions import Conflict, NotFound
from gcp_storage_emulator.handlers.objects import _checksums, _make_object_resource
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

BUCKET = "shared"
PAGE = 20  # entries, so that more than one page is usual
TURN = threading.Lock()


class Handler(RequestHandler):  # type: ignore[misc]  # of a library without types
    protocol_version = "HTTP/1.1"
    rfile: IO[bytes]
    wfile: IO[bytes]

    def do_GET(self) -> None:
        self._answer(super().do_GET)

    def do_POST(self) -> None:
        self._answer(super().do_POST)

    def do_DELETE(self) -> None:
        self._answer(super().do_DELETE)

    def _answer(self, answer: Callable[[], None]) -> None:
        """The storage knows no threads, but whoever sends or reads slowly keeps nobody else waiting."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection, out = (self.rfile, self.wfile), io.BytesIO()
        self.rfile, self.wfile = io.BytesIO(body), out
        try:
            with TURN:
                if f"/b/{BUCKET}/o" not in self.path and self.path != "/":
                    self._say(404, {"error": {"message": "The specified bucket does not exist."}})
                elif refused := self._refused(body):
                    self._say(refused, {})
                elif self.path.startswith("/upload/"):
                    self._insert(body)
                else:
                    answer()
        finally:
            self.rfile, self.wfile = connection
        self.wfile.write(self._page(out.getvalue()))

    def _say(self, status: int, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _insert(self, body: bytes) -> None:
        """As the emulator does it, which would read the body as the lines of a mail."""
        metadata, content = parts(body)
        name = metadata["name"]
        made = _make_object_resource(self.path, BUCKET, name, "application/octet-stream", str(len(content)), metadata)
        try:
            made = _checksums(content, made)
        except Conflict as error:
            self._say(400, {"error": {"message": str(error)}})
        else:
            self.storage.create_file(BUCKET, name, content, made)
            self._say(200, made)

    def _refused(self, body: bytes) -> int:
        """The status of a request whose conditions do not hold, or 0."""
        asked = urlsplit(self.path)
        query = parse_qs(asked.query)
        if query.get("ifGenerationMatch") == ["0"]:
            return 412 if self._generation(parts(body)[0]["name"]) else 0
        if self.command == "GET" and "ifGenerationMatch" in query:
            name = unquote(asked.path.rpartition("/o/")[2])
            return 0 if query["ifGenerationMatch"] == [self._generation(name)] else 412
        if asked.path.endswith("/compose"):
            sources = json.loads(body)["sourceObjects"]
            assert 1 <= len(sources) <= 32
            for one in sources:
                if one.get("generation", self._generation(one["name"])) != self._generation(one["name"]):
                    return 404
        return 0

    def _generation(self, name: str) -> str | None:
        try:
            return str(self.storage.get_file_obj(BUCKET, name)["generation"])
        except NotFound:
            return None

    def _page(self, answer: bytes) -> bytes:
        """A listing, cut where a page ends."""
        asked = urlsplit(self.path)
        if self.command != "GET" or not unquote(asked.path).endswith(f"/b/{BUCKET}/o"):
            return answer
        _, _, body = answer.partition(b"\r\n\r\n")
        listing = json.loads(body)
        first = int(parse_qs(asked.query).get("pageToken", ["0"])[0])
        items = listing.pop("items")
        listing["items"] = items[first : first + PAGE]
        if len(items) > first + PAGE:
            listing["nextPageToken"] = str(first + PAGE)
        said = json.dumps(listing).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def parts(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Of a multipart upload: what is said of the object, and its content."""
    boundary, _, rest = body.partition(b"\r\n")
    said, _, rest = rest.partition(b"\r\n\r\n")[2].partition(b"\r\n")
    return json.loads(said), rest.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n" + boundary + b"--\r\n")


class Kept(Storage):  # type: ignore[misc]
    """Says what there is when it ends, not with each object."""

    def _write_config_to_file(self) -> None:
        pass

    def end(self) -> None:
        super()._write_config_to_file()


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def main() -> None:
    port, directory = int(sys.argv[1]), Path(sys.argv[2])
    storage = Kept(data_dir=str(directory))
    if BUCKET not in storage.buckets:
        storage.create_bucket(BUCKET, {"name": BUCKET})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        Server(("127.0.0.1", port), partial(Handler, storage)).serve_forever()
    finally:
        storage.end()


if __name__ == "__main__":
    main()
