"""Whatever is done to a driver, in whatever order: it answers as a dict would."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from drs_service.blobs.driver import Entry, Staged
from drs_service.errors import BlobCorrupt
from tests.support.driving import fetch
from tests.support.places import CloudPlace, LocalPlace, MemoryPlace, Place

T = TypeVar("T")

KEYS = st.sampled_from(["a/0", "a/0-1", "a/00", "a-b/0", "ab", "b/c/d", "b/c/e"])
PREFIXES = st.sampled_from(["", "a", "a/", "a/0", "a-", "ab", "b", "b/c", "b/c/", "c", "s"])
CHUNKS = st.lists(st.binary(max_size=20), max_size=4)


@dataclass(slots=True, eq=False)
class Pending:
    """What is staged, and what was written to it."""

    staged: Staged
    content: bytes = b""
    published: bool = False


class DriverAgainstDict(RuleBasedStateMachine):
    stagings: "Bundle[Pending]" = Bundle("stagings")
    open_place: Callable[[Path], Place]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="drs-tests-"))
        self.runner = asyncio.Runner()
        self.place = type(self).open_place(self.folder)
        self.model: dict[str, bytes] = {}
        self.staged = 0

    def run(self, call: Coroutine[object, object, T]) -> T:
        return self.runner.run(call)

    @initialize(key=KEYS, content=st.binary(max_size=20))
    def begin_with_a_key(self, key: str, content: bytes) -> None:
        pending = self.stage()
        self.write(pending, [content])
        self.publish(pending, key)
        self.discard(pending)

    @rule(target=stagings)
    def stage(self) -> Pending:
        self.staged += 1
        return Pending(self.run(self.place.driver.stage()))

    @rule(pending=stagings, chunks=CHUNKS)
    def write(self, pending: Pending, chunks: list[bytes]) -> None:
        if not pending.published:
            self.run(pending.staged.write(chunks))
            pending.content += b"".join(chunks)

    @rule(pending=stagings, key=KEYS)
    def publish(self, pending: Pending, key: str) -> None:
        self.run(pending.staged.publish(key))
        pending.published = True
        self.model.setdefault(key, pending.content)

    @rule(pending=consumes(stagings))
    def discard(self, pending: Pending) -> None:
        self.run(pending.staged.discard())
        self.run(pending.staged.discard())
        self.staged -= 1

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.run(self.place.driver.delete(key))
        self.model.pop(key, None)

    @rule(key=KEYS)
    def size(self, key: str) -> None:
        content = self.model.get(key)
        assert self.answer(self.place.driver.size(key)) == (KeyError if content is None else len(content))

    @rule(key=KEYS, start=st.integers(0, 90), length=st.integers(0, 90))
    def read(self, key: str, start: int, length: int) -> None:
        content = self.model.get(key)
        expected: object = KeyError
        if content is not None:
            fits = length == 0 or start + length <= len(content)
            expected = content[start : start + length] if fits else BlobCorrupt
        if content is None or length or start <= len(content):
            assert self.answer(fetch(self.place.driver, key, start, start + length)) == expected

    @rule(prefix=PREFIXES)
    def keys(self, prefix: str) -> None:
        expected = sorted(key for key in self.model if key.startswith(prefix))
        assert self.run(listed(self.place.driver.keys(prefix))) == expected

    @precondition(lambda self: self.staged)
    @rule()
    def clean(self) -> None:
        assert self.run(self.place.driver.clean()) == 0

    @invariant()
    def the_place_holds_what_the_dict_holds(self) -> None:
        assert {key: self.place.raw_get(key) for key in self.place.raw_keys()} == self.model

    def answer(self, call: Awaitable[T]) -> object:
        """What it returns, or the kind of error it raises."""

        async def answered() -> object:
            try:
                return await call
            except (KeyError, BlobCorrupt) as error:
                return type(error)

        return self.run(answered())

    def teardown(self) -> None:
        self.run(self.place.driver.close())
        self.runner.close()
        assert self.place.leftovers() == []
        shutil.rmtree(self.folder)


async def listed(entries: AsyncIterator[Entry]) -> list[str]:
    return [entry.key async for entry in entries]


class MemoryAgainstDict(DriverAgainstDict):
    open_place = staticmethod(lambda _: MemoryPlace())


class LocalAgainstDict(DriverAgainstDict):
    open_place = staticmethod(lambda folder: LocalPlace(folder / "store"))


class S3AgainstDict(DriverAgainstDict):
    """`clouds_against_dict` says where the server is."""


class AzureAgainstDict(DriverAgainstDict):
    """As S3."""


class GcsAgainstDict(DriverAgainstDict):
    """As S3."""


@pytest.fixture(scope="module")
def clouds_against_dict(request: pytest.FixtureRequest) -> None:
    for name, against in (("s3", S3AgainstDict), ("azure", AzureAgainstDict), ("gcs", GcsAgainstDict)):
        against.open_place = staticmethod(lambda _, name=name: CloudPlace(request.getfixturevalue(name)))


TestMemory = MemoryAgainstDict.TestCase
TestLocal = LocalAgainstDict.TestCase
TestS3 = pytest.mark.usefixtures("clouds_against_dict", "s3")(S3AgainstDict.TestCase)
TestAzure = pytest.mark.usefixtures("clouds_against_dict", "azure")(AzureAgainstDict.TestCase)
TestGcs = pytest.mark.usefixtures("clouds_against_dict", "gcs")(GcsAgainstDict.TestCase)
UNHURRIED = [HealthCheck.too_slow]
TestMemory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=UNHURRIED)
TestLocal.settings = settings(max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=UNHURRIED)
TestS3.settings = TestAzure.settings = TestGcs.settings = settings(
    max_examples=5, stateful_step_count=25, deadline=None, suppress_health_check=UNHURRIED
)
