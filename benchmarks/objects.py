"""`GET objects/{id}`: against a route that does nothing, and with many objects against few."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import asyncpg

from benchmarks.measuring import AtLeast, AtMost, Row, Target, compared, taking_turns
from benchmarks.programs import run
from benchmarks.scale import Scale
from benchmarks.servers import Server, bare_route, service, workplace
from drs_service.db.embedded import EmbeddedPostgres

PATH = "/ga4gh/drs/v1/objects/"
ONE = f"{PATH}{1:026}"
SCRIPT = Path(__file__).with_name("requests.lua")
STRIDE = 7_368_787  # a prime: it has no factor in common with any number of objects used here

# As uploads leave them: a blob, its replica and an object each. What triggers would check is known to hold.
FILL = """
    SET session_replication_role = replica;
    INSERT INTO blobs (digest, size)
        SELECT sha256(i::text::bytea), i FROM generate_series(0, {last}) AS i;
    INSERT INTO replicas (digest, place, key)
        SELECT digest, 'primary', 'sha256/' || encode(digest, 'hex') FROM blobs;
    INSERT INTO objects (id, digest, size, name, file_name, media_type)
        SELECT lpad(i::text, 26, '0'), sha256(i::text::bytea), i, 'reads-' || i || '.bam', 'reads-' || i || '.bam',
            'application/octet-stream'
        FROM generate_series(0, {last}) AS i;
"""


def requests(scale: Scale) -> list[Row]:
    """Requests a second: one object again and again, and objects that this process has not read yet."""
    total = scale.many_objects
    with workplace() as place, holding(total, place / "data") as ours:
        answer = body(ours.url + ONE)
        with bare_route(answer, place) as bare:
            if body(bare.url + ONE) != answer:
                raise RuntimeError("The two routes give different answers.")
            same = against_bare(scale, "the same one", bare.url + ONE, ours.url + ONE, target=AtLeast(bound=0.7))
            # The bare route knows no ids: to it none is new, and its walk may begin again.
            walks = Walk(total), Walk(total, again=True)
            new = against_bare(
                scale, "every one new", bare.url + PATH, ours.url + PATH, target=AtLeast(bound=0.4), walks=walks
            )
    return [*same, *new]


def many(scale: Scale) -> list[Row]:
    """The latency of reading an object from a large table, against the same from a small one."""
    no_cache = {"DRS_OBJECT_CACHE_SIZE": "0"}  # so that no object is known, however often a small table is walked
    rows = []
    with (
        workplace() as place,
        holding(scale.few_objects, place / "few", settings=no_cache) as few,
        holding(scale.many_objects, place / "many", settings=no_cache) as many,
    ):
        for connections in (1, 16):
            in_few = partial(latency, few.url + PATH, connections, scale, Walk(scale.few_objects, again=True))
            in_many = partial(latency, many.url + PATH, connections, scale, Walk(scale.many_objects, again=True))
            taken = taking_turns(scale.rounds, {"few": in_few, "many": in_many}, warm_up=True)
            what = f"p50 of GET object, {scale.many_objects:,} against {scale.few_objects:,}, {connections} connections"
            rows.append(compared(what, ours=taken["many"], baseline=taken["few"], unit="µs", target=AtMost(bound=1.2)))
    return rows


class Walk:
    """Ids that have not been asked for yet, in no order."""

    def __init__(self, total: int, *, again: bool = False) -> None:
        self._total = total
        self._again = again
        self._next = 2  # 0 and 1 are for whoever wants an id that is not on the way

    def arguments(self) -> list[str]:
        return [str(self._next), str(STRIDE), str(self._total)]

    def went(self, steps: int) -> None:
        self._next += steps
        if self._next > self._total and not self._again:
            raise RuntimeError(f"{self._total} objects are too few: ids came twice.")


@dataclass(frozen=True, slots=True)
class Load:
    rate: float
    """answers a second"""
    p50: float
    """microseconds"""


def rate(url: str, connections: int, scale: Scale, walk: Walk | None) -> float:
    return load(url, connections, scale, walk).rate


def latency(url: str, connections: int, scale: Scale, walk: Walk | None) -> float:
    return load(url, connections, scale, walk).p50


def load(url: str, connections: int, scale: Scale, walk: Walk | None, *, many: int = 1) -> Load:
    """Ask with so many connections for as long as a round takes; the ids of walk are appended to url, or sent many
    at once."""
    command = ["-t1", f"-c{connections}", f"-d{scale.seconds}s", "-s", str(SCRIPT), url]
    ids = ["--", *walk.arguments(), *([str(many)] if many > 1 else [])] if walk is not None else []
    said = run("wrk", *command, *ids)
    [result] = [line for line in said.splitlines() if line.startswith("RESULT ")]
    answers, duration, p50, failed = map(int, result.split()[1:])
    if failed or not answers:
        raise RuntimeError(f"wrk counts {answers} answers and {failed} failures.")
    if walk is not None:
        walk.went(
            (answers + 2 * connections) * many
        )  # asked for and not answered when the time was up; wrk's own trial
    return Load(answers / duration * 1e6, p50)


def against_bare(
    scale: Scale, which: str, bare: str, ours: str, *, target: Target, walks: tuple[Walk, Walk] | None = None
) -> list[Row]:
    ours_walk, bare_walk = walks or (None, None)
    rows = []
    for connections in (16, 64):
        from_bare = partial(rate, bare, connections, scale, bare_walk)
        from_ours = partial(rate, ours, connections, scale, ours_walk)
        rates = taking_turns(scale.rounds, {"bare": from_bare, "ours": from_ours})
        what = f"GET object, {which}, {connections} connections"
        rows.append(compared(what, ours=rates["ours"], baseline=rates["bare"], unit="/s", target=target))
    return rows


@contextmanager
def holding(objects: int, directory: Path, *, settings: dict[str, str] | None = None) -> Iterator[Server]:
    """The service with so many objects, none of which it has read."""
    with service(directory, settings=settings) as server:
        asyncio.run(fill(EmbeddedPostgres(directory / "postgres").url("drs"), objects))
        yield server


async def fill(url: str, objects: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FILL.format(last=objects - 1))
        await connection.execute("VACUUM ANALYZE")  # now, and not by itself in the middle of a round
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


def body(url: str) -> bytes:
    with urlopen(url, timeout=30) as response:
        return bytes(response.read())
