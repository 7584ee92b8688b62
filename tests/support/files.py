"""A directory that our drivers reach by way of fsspec, and a way past them."""

from collections.abc import Mapping
from pathlib import Path

from drs_service.blobs.access import Access, FsspecAccess
from drs_service.blobs.fsspec_bucket import HIDDEN, name_of, path_of


class Files:
    scheme = "local"
    no_such_bucket = ""
    wrong_secret: str | None = None
    tries = 20

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bucket = str(directory)
        self.url = ""

    def access(self, *, url: str | None = None, secret: str | None = None) -> Access:
        assert url is None and secret is None
        return Access(fsspec=FsspecAccess(protocols=frozenset({self.scheme}), options=self.options()))

    def options(self) -> Mapping[str, str]:
        return {}

    def settings(self) -> dict[str, str]:
        return {"DRS_FSSPEC_PROTOCOLS": self.scheme}

    def get(self, name: str) -> bytes | None:
        try:
            return self._at(name).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, name: str, content: bytes) -> None:
        self._at(name).write_bytes(content)

    def names(self, prefix: str) -> list[str]:
        place, paths = self._paths(prefix)
        found = [f"{place}/{name_of(path)}" for path in paths if not path.startswith(HIDDEN)]
        return sorted(name for name in found if name.startswith(prefix))

    def begun(self, prefix: str) -> list[str]:
        return [path for path in self._paths(prefix)[1] if path.startswith(HIDDEN)]

    def _paths(self, prefix: str) -> tuple[str, list[str]]:
        """The place that prefix names first, and every file in it."""
        place = prefix.partition("/")[0]
        root = self.directory / place
        return place, [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]

    def _at(self, name: str) -> Path:
        place, _, rest = name.partition("/")
        return self.directory / place / path_of(rest)
