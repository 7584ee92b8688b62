"""`get`: objects, bundles as directories, and plain URLs, into local files."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from drs_service.client.answers import AccessMethod, AccessURL, Content, DrsObject, read, refused
from drs_service.client.fetching import Fetching, Remote
from drs_service.client.results import Failure, Result, Tell
from drs_service.client.states import States
from drs_service.client.watching import Watcher
from drs_service.domain.digest_fields import parse_repr_digest
from drs_service.domain.names import form_file_name
from drs_service.errors import DigestMalformed, DrsServiceError, NameInvalid, NotFound, Rejected, TargetExists
from drs_service.outgoing.transfers import Reply, Transfers

Resolve = Callable[[str], Awaitable[str]]

OBJECTS = "/ga4gh/drs/v1/objects/"
MAX_DEPTH = 64  # bundles within bundles


class Getting:
    def __init__(
        self,
        transfers: Transfers,
        resolve: Resolve,
        states: States,
        watcher: Watcher,
        tell: Tell,
        *,
        parallel: int,
        patience: float,
        prepared: float,
        force: bool,
    ) -> None:
        """patience, prepared: seconds, as `Patience` has them."""
        self._transfers = transfers
        self._resolve = resolve
        self._states = states
        self._watcher = watcher
        self._tell = tell
        self._turns = asyncio.Semaphore(parallel)
        self._fetching = Fetching(
            transfers, states, watcher, self._turns, patience=patience, prepared=prepared, force=force
        )
        self._taken: set[Path] = set()
        self._parts: dict[Path, Path] = {}

    async def get(self, uris: Sequence[str], directory: Path, name: str | None = None) -> bool:
        """Whether all went well. Each goes into directory, under its own name unless one is given."""
        self._states.tidy()
        outcomes = [self._get(uri, directory, name) for uri in dict.fromkeys(uris)]
        return all(await asyncio.gather(*outcomes))

    async def _get(self, uri: str, directory: Path, name: str | None) -> bool:
        try:
            if uri.lower().startswith("drs://"):
                url = await self._fetching.patience(uri).of(lambda: self._resolve(uri))
            else:
                url = uri
            if OBJECTS not in urlsplit(url).path:
                return await self._plain(url, directory, name)
            return await self._object(url, directory, name, above=())
        except (DrsServiceError, OSError) as error:
            self._tell(Failure.of(uri, error))
            return False

    async def _object(self, url: str, directory: Path, name: str | None, *, above: tuple[str, ...]) -> bool:
        """A file, or a directory of them. Raises what concerns it itself."""
        if url in above or len(above) >= MAX_DEPTH:
            raise Rejected(f"{url} lies in itself, or too deep in bundles.")
        async with self._turns:
            found = await self._fetching.patience(url).of(lambda: self._described(url))
        at = directory / (name or portable(found.name or found.id))
        if found.contents is None:
            return await self._file(url, found, at)
        well = await self._contents(url, found.contents, at, above=(*above, url))
        if well:
            sha256 = found.computable().get("sha-256")
            self._tell(
                Result(
                    path=str(at), uri=found.self_uri, url=url, id=found.id, size=found.size, sha256=sha256, bundle=True
                )
            )
        return well

    async def _described(self, url: str) -> DrsObject:
        return read(await self._transfers.get(f"{url}{'&' if '?' in url else '?'}expand=true"), DrsObject)

    async def _contents(self, url: str, contents: Sequence[Content], at: Path, *, above: tuple[str, ...]) -> bool:
        names = [portable(one.name) for one in contents]
        [(name, times)] = Counter(names).most_common(1) or [("", 0)]
        if times > 1:
            raise NameInvalid(f"{times} members of {url} would be {name}.")
        await asyncio.to_thread(make_directory, at)
        # Of a member called as the part of another would be, the name is its own.
        self._taken |= {at / name for name in names}
        members = zip(contents, names, strict=True)
        return all(await asyncio.gather(*(self._member(url, one, at, name, above) for one, name in members)))

    async def _member(self, url: str, one: Content, at: Path, name: str, above: tuple[str, ...]) -> bool:
        try:
            if one.contents:
                return await self._contents(url, one.contents, at / name, above=above)
            uris = [one.drs_uri] if isinstance(one.drs_uri, str) else one.drs_uri or []
            if one.id is not None:
                path, _, _ = url.partition("?")
                member_url = f"{path.rpartition('/')[0]}/{quote(one.id, safe='')}"
            elif uris:
                member_url = await self._fetching.patience(uris[0]).of(lambda: self._resolve(uris[0]))
            else:
                raise NotFound(f"{url} does not say where {name} is.")
            return await self._object(member_url, at, name, above=above)
        except (DrsServiceError, OSError) as error:
            self._tell(Failure.of(str(at / name), error))
            return False

    async def _file(self, url: str, found: DrsObject, at: Path) -> bool:
        methods = ways(found.access_methods or ())
        if not methods:
            raise NotFound(f"{url} has no access method of type https.")
        for number, method in enumerate(methods, start=1):
            remote = Remote(
                source=url,
                size=found.size,
                checksums=found.computable(),
                where=partial(self._access, url, method),
            )
            try:
                return await self._fetch(remote, at, uri=found.self_uri, object_id=found.id)
            except DrsServiceError as error:
                if number == len(methods) or isinstance(error, TargetExists):
                    raise
        return False

    async def _access(self, url: str, method: AccessMethod) -> AccessURL:
        if method.access_url is not None:
            return method.access_url
        path, _, _ = url.partition("?")
        return read(await self._transfers.get(f"{path}/access/{quote(method.access_id or '', safe='')}"), AccessURL)

    async def _plain(self, url: str, directory: Path, name: str | None) -> bool:
        async with self._turns:
            named, remote = await self._fetching.patience(url).of(lambda: self._looked_at(url))
        return await self._fetch(remote, directory / (name or named), uri="", object_id="")

    async def _looked_at(self, url: str) -> tuple[str, Remote]:
        """What the head of an answer says of the bytes. Not HEAD: a signed URL may be good for GET alone."""
        async with self._transfers.fetch(url) as incoming:
            if incoming.status != 200:
                raise refused(Reply(url=url, status=incoming.status, headers=incoming.headers))
            try:
                digest = parse_repr_digest(incoming.headers.get("Repr-Digest"))
            except DigestMalformed:
                digest = None
            length = incoming.headers.get("Content-Length", "")
            named = named_by(incoming.headers.get("Content-Disposition", ""))

        async def where() -> AccessURL:
            return AccessURL(url=url)

        return portable(named or unquote(urlsplit(url).path.rstrip("/")) or "download"), Remote(
            source=url,
            size=int(length) if length.isascii() and length.isdigit() else None,
            checksums={"sha-256": digest.hex} if digest is not None else {},
            where=where,
        )

    async def _fetch(self, remote: Remote, at: Path, *, uri: str, object_id: str) -> bool:
        await asyncio.to_thread(at.parent.mkdir, parents=True, exist_ok=True)
        part_path = self._part_of(at)
        try:
            size, checksums = await self._fetching.fetch(remote, at, part_path)
        except (DrsServiceError, OSError):
            self._watcher.ended(str(at), well=False)
            raise
        self._watcher.ended(str(at), well=True)
        self._tell(
            Result(path=str(at), uri=uri, url=remote.source, id=object_id, size=size, sha256=checksums["sha-256"])
        )
        return True

    def _part_of(self, at: Path) -> Path:
        """NAME.part, or what is longer by as many .part as others are called so."""
        if at not in self._parts:
            beside = at.with_name(f"{at.name}.part")
            while beside in self._taken:
                beside = beside.with_name(f"{beside.name}.part")
            self._taken.add(beside)
            self._parts[at] = beside
        return self._parts[at]


def ways(methods: Iterable[AccessMethod]) -> list[AccessMethod]:
    """Those that lead to the bytes by HTTP, the ones that need no thawing first."""
    usable = [
        one
        for one in methods
        if one.type in ("https", "http") and (one.access_url is not None or one.access_id is not None)
    ]
    return sorted(usable, key=lambda one: one.available is False)


def portable(name: str) -> str:
    """The name as any file system takes it, and never a path. NameInvalid."""
    return form_file_name(name).portable


def named_by(disposition: str) -> str | None:
    """The file name of a Content-Disposition (RFC 6266)."""
    extended = re.search(r"filename\*\s*=\s*UTF-8''([^;\s]+)", disposition, re.IGNORECASE)
    if extended is not None:
        return unquote(extended[1])
    plain = re.search(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', disposition, re.IGNORECASE)
    return None if plain is None else re.sub(r"\\(.)", r"\1", plain[1] or plain[2] or "") or None


def make_directory(at: Path) -> None:
    """TargetExists if something else is there: a link would lead elsewhere."""
    at.parent.mkdir(parents=True, exist_ok=True)
    if at.is_symlink() or (at.exists() and not at.is_dir()):
        raise TargetExists(f"{at} is there already, and no directory.")
    at.mkdir(exist_ok=True)
