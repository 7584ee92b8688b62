"""What DRS has beside single objects: many at once, finding them, and bundles."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from urllib.parse import urlsplit

from benchmarks.measuring import AtLeast, AtMost, Row, compared, limited, taking_turns
from benchmarks.objects import PATH, Walk, holding, latency, load, rate
from benchmarks.scale import Scale
from benchmarks.servers import Server, workplace
from drs_service.usecases.finding import make_token

OBJECTS = PATH.rstrip("/")
AT_ONCE = 1000  # ids in a bulk request
LATE = 10_000  # a page far behind
FEW, MANY = 10, 10_000  # members of a bundle
NO_CACHE = {"DRS_OBJECT_CACHE_SIZE": "0"}  # so that every object is read from PostgreSQL


def bulk(scale: Scale) -> list[Row]:
    """Objects a second to one client: a thousand in each request, against one in each."""
    total = scale.many_objects
    with workplace() as place:
        with holding(total, place / "read", settings=NO_CACHE) as ours:
            read = at_once_against_singly(scale, ours, total, "read from PostgreSQL")
        with holding(AT_ONCE + 1, place / "known") as ours:
            known = at_once_against_singly(scale, ours, AT_ONCE + 1, "known to the process")
    return [known, read]


def at_once_against_singly(scale: Scale, ours: Server, total: int, which: str) -> Row:
    singly = partial(rate, ours.url + PATH, 1, scale, Walk(total, again=True))
    walk = Walk(total, again=True)

    def at_once() -> float:
        return AT_ONCE * load(ours.url + OBJECTS, 1, scale, walk, many=AT_ONCE).rate

    taken = taking_turns(scale.rounds, {"singly": singly, "at once": at_once}, warm_up=True)
    what = f"bulk of {AT_ONCE:,} against single GETs, one after another, {which}"
    return compared(what, ours=taken["at once"], baseline=taken["singly"], unit="/s", target=AtLeast(bound=50))


def finding(scale: Scale) -> list[Row]:
    """The latency of a lookup by checksum and of a late page of the listing, against that of the first page."""
    late = min(LATE, scale.many_objects // 2)
    with workplace() as place, holding(scale.many_objects, place / "data", settings=NO_CACHE) as ours:

        def page(size: int, number: int) -> str:
            last = (number - 1) * size - 1  # of the page before
            token = f"&page_token={make_token(f'{last:026}')}" if last >= 0 else ""
            return f"{ours.url}{OBJECTS}?page_size={size}{token}"

        def timed(url: str) -> partial[float]:
            return partial(latency, url, 1, scale, None)

        default = 256
        last_full = scale.many_objects // default
        lookup = f"{ours.url}{OBJECTS}/checksum/{sha256(b'12345').hexdigest()}"
        taken = taking_turns(
            scale.rounds,
            {
                "first": timed(page(1, 1)),
                "late": timed(page(1, late)),
                "lookup": timed(lookup),
                "first of 256": timed(page(default, 1)),
                "last of 256": timed(page(default, last_full)),
            },
            warm_up=True,
        )
    near = AtMost(bound=1.5)
    return [
        compared(
            f"page {late:,} against page 1, an object each, of {scale.many_objects:,}",
            ours=taken["late"], baseline=taken["first"], unit="µs", target=near,
        ),
        compared(
            f"lookup by checksum against page 1, an object each, of {scale.many_objects:,}",
            ours=taken["lookup"], baseline=taken["first"], unit="µs", target=near,
        ),
        compared(
            f"page {last_full:,} against page 1, 256 objects each",
            ours=taken["last of 256"], baseline=taken["first of 256"], unit="µs", target=near,
        ),
    ]  # fmt: skip


def bundles(scale: Scale) -> list[Row]:
    """How much later the first byte of a large bundle comes than that of a small one, expanded."""
    with workplace() as place, holding(MANY, place / "data", settings=NO_CACHE) as ours:
        ids = [f"{number:026}" for number in range(MANY)]
        few, many = (bundle_of(ours, [{"id": one} for one in ids[:count]]) for count in (FEW, MANY))
        width = 100
        nested = [
            {"contents": [{"name": one, "id": one} for one in ids[first : first + width]]}
            for first in range(0, MANY, width)
        ]
        deep = bundle_of(ours, nested)
        taken = taking_turns(
            scale.rounds * 5,
            {name: partial(first_byte, ours, one) for name, one in {"few": few, "many": many, "deep": deep}.items()},
            warm_up=True,
        )
        whole = [whole_answer(ours, many) for _ in range(scale.rounds)]
    soon = AtMost(bound=100)
    later = {
        name: [1000 * (mine - base) for mine, base in zip(taken[name], taken["few"], strict=True)]
        for name in ("many", "deep")
    }
    return [
        limited(f"first byte of {MANY:,} members, later than of {FEW}", later["many"], unit="ms", target=soon),
        limited(f"the same of {MANY // width} bundles of {width}", later["deep"], unit="ms", target=soon),
        limited(f"all of {MANY:,} members", [1000 * one for one in whole], unit="ms", target=AtMost(bound=1000)),
    ]


def bundle_of(server: Server, contents: Sequence[Mapping[str, object]]) -> str:
    """The id of a bundle; members that have no name are numbered."""
    members = [{"name": f"member-{number}", **one} for number, one in enumerate(contents)]
    body = json.dumps({"candidates": [{"contents": members}]})
    with connected(server) as connection:
        connection.request("POST", f"{OBJECTS}/register", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 201:
            raise RuntimeError(said.decode())
    return str(json.loads(said)["objects"][0]["id"])


def first_byte(server: Server, object_id: str) -> float:
    """Seconds."""
    with connected(server) as connection:
        connection.connect()
        begin = time.perf_counter()
        connection.request("GET", f"{PATH}{object_id}?expand=true")
        answer = connection.getresponse()
        answer.read(1)
        took = time.perf_counter() - begin
        answer.read()
        return took


def whole_answer(server: Server, object_id: str) -> float:
    """Seconds."""
    with connected(server) as connection:
        connection.connect()
        begin = time.perf_counter()
        connection.request("GET", f"{PATH}{object_id}?expand=true")
        connection.getresponse().read()
        return time.perf_counter() - begin


@contextmanager
def connected(server: Server) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()
