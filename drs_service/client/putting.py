"""`put`: files and directories to a service; each directory becomes a bundle of bundles."""

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from drs_service.client.answers import DrsObject, Objects, read
from drs_service.client.patience import Patience
from drs_service.client.reading import reading
from drs_service.client.results import Failure, Result, Tell
from drs_service.client.sending import How, Sending
from drs_service.client.states import States
from drs_service.client.watching import Watcher
from drs_service.domain.names import file_name
from drs_service.errors import DrsServiceError, NameInvalid, Rejected
from drs_service.outgoing.transfers import Transfers


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is said of what is put."""

    name: str | None = None
    media_type: str | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file to send."""

    path: Path
    metadata: Mapping[str, str]
    members: tuple[str, ...] = ()
    """Its path in the bundle, in portable names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Files that belong together."""

    path: Path
    items: Sequence[Item]
    failures: Sequence[Failure] = ()
    bundle: Mapping[str, object] | None = None
    """What is said of the bundle that they make."""


class Putting:
    def __init__(
        self,
        transfers: Transfers,
        service_url: str,
        states: States,
        watcher: Watcher,
        tell: Tell,
        how: How,
        *,
        parallel: int,
    ) -> None:
        self._transfers = transfers
        self._service_url = service_url.rstrip("/")
        self._states = states
        self._watcher = watcher
        self._tell = tell
        self._how = how
        self._turns = asyncio.Semaphore(parallel)
        self._keys: list[list[str]] = []

    async def put(self, paths: Sequence[Path], about: About, *, bundles: bool) -> bool:
        """Whether all went well. What became of each is told at once: of a directory, after its files."""
        self._states.tidy()
        batches = [batch_of(path, about, bundles=bundles) for path in dict.fromkeys(map(absolute, paths))]
        well = all(await asyncio.gather(*(self._batch(batch) for batch in batches)))
        # Only now: whoever repeats a command that was killed, or failed in part, finds what it had done.
        if well:
            for key in self._keys:
                self._states.forget(key)
        return well

    async def _batch(self, batch: Batch) -> bool:
        for failure in batch.failures:
            self._tell(failure)
        if batch.failures and batch.bundle is not None:
            return False
        made = await asyncio.gather(*(self._put(one) for one in batch.items))
        if batch.failures or None in made:
            return False
        if batch.bundle is None:
            return True
        ids = {item.members: one.id for item, one in zip(batch.items, made, strict=True) if one is not None}
        outcome = await self._bundle(batch, batch.bundle, ids)
        self._tell(outcome)
        return isinstance(outcome, Result)

    async def _put(self, item: Item) -> Result | None:
        async with self._turns:
            name = legible(item.path)
            try:
                with reading(item.path) as opened:
                    sending = Sending(
                        self._transfers,
                        self._service_url,
                        self._states,
                        self._watcher,
                        self._how,
                        name=name,
                        reading=opened,
                        metadata=item.metadata,
                    )
                    made, url, sha256 = await sending.send()
            except (DrsServiceError, OSError) as error:
                self._watcher.ended(name, well=False)
                self._tell(Failure.of(name, error))
                return None
            self._keys.append(sending.key)
            self._watcher.ended(name, well=True)
            result = Result(path=name, uri=made.self_uri, url=url, id=made.id, size=made.size, sha256=sha256)
            self._tell(result)
            return result

    async def _bundle(
        self, batch: Batch, said: Mapping[str, object], made: Mapping[tuple[str, ...], str]
    ) -> Result | Failure:
        candidate = {**said, "contents": contents_of(made)}
        body = msgspec.json.encode({"candidates": [candidate]})
        headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{hashlib.sha256(body).hexdigest()}"'}
        objects = f"{self._service_url}/ga4gh/drs/v1/objects"

        async def register() -> DrsObject:
            reply = await self._transfers.send("POST", f"{objects}/register", headers, body)
            [one] = read(reply, Objects).objects
            return one

        name = legible(batch.path)
        patience = Patience(self._how.patience, lambda seconds, error: self._watcher.waits(name, seconds, str(error)))
        try:
            bundle = await patience.of(register)
        except DrsServiceError as error:
            return Failure.of(name, error)
        return Result(
            path=name,
            uri=bundle.self_uri,
            url=f"{objects}/{bundle.id}",
            id=bundle.id,
            size=bundle.size,
            sha256=bundle.computable().get("sha-256"),
            bundle=True,
        )


def batch_of(path: Path, about: About, *, bundles: bool) -> Batch:
    """What there is to send. Of a directory that becomes a bundle, it is the bundle that is described."""
    described: dict[str, str] = {} if about.description is None else {"description": about.description}
    said = {**described, **{f"tag.{key}": value for key, value in about.tags.items()}}
    kind = {} if about.media_type is None else {"filetype": about.media_type}
    if not path.is_dir():
        try:
            name = file_name(about.name or path.name).original
        except NameInvalid as error:
            return Batch(path=path, items=[], failures=[Failure.of(legible(path), error)])
        return Batch(path=path, items=[Item(path=path, metadata={"filename": name, **kind, **said})])
    items: list[Item] = []
    failures: list[Failure] = []
    taken: dict[tuple[str, ...], Path] = {}
    try:
        found = files_of(path)
    except OSError as error:
        return Batch(path=path, items=[], failures=[Failure.of(legible(path), error)])
    for one in found:
        try:
            members = tuple(file_name(part).portable for part in one.relative_to(path).parts)
            if bundles and taken.setdefault(members, one) != one:
                raise NameInvalid(f"In a bundle it would have the same name as {taken[members]}.")
        except DrsServiceError as error:
            failures.append(Failure.of(legible(one), error))
            continue
        metadata = {"filename": one.name, **kind, **({} if bundles else said)}
        items.append(Item(path=one, metadata=metadata, members=members if bundles else one.parts))
    if not items and not failures:
        failures.append(Failure.of(legible(path), Rejected("There is no file in it.")))
    tags = {"tags": dict(about.tags)} if about.tags else {}
    called = {"name": about.name or legible(path.name) or "bundle"}
    return Batch(path=path, items=items, failures=failures, bundle={**called, **described, **tags} if bundles else None)


def absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # not resolved: a link is sent under its own name


def legible(path: Path | str) -> str:
    """As it may be written down: names of files are bytes, not all of which are text."""
    return os.fsencode(path).decode(errors="replace")


def files_of(directory: Path) -> list[Path]:
    """All files in it, in the order of their names; directories behind links are left alone. OSError."""
    found: list[Path] = []

    def fail(error: OSError) -> None:
        raise error

    for at, directories, names in os.walk(directory, onerror=fail):
        directories.sort()
        found += [Path(at, name) for name in sorted(names)]
    return found


def contents_of(made: Mapping[tuple[str, ...], str]) -> list[object]:
    """The contents of a bundle: bundles in it where paths have more than one part."""
    tree: dict[str, dict[tuple[str, ...], str]] = {}
    for members, object_id in sorted(made.items()):
        tree.setdefault(members[0], {})[members[1:]] = object_id
    return [
        {"name": name, "id": within[()]} if () in within else {"name": name, "contents": contents_of(within)}
        for name, within in tree.items()
    ]
