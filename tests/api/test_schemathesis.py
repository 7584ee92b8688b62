"""Every operation of our own document, driven with data that fits it and with data that does not.

Whatever comes, the answer is one that the document tells of: its status, its media type, its shape; and never a 5xx.
A new route is driven as soon as it is in the document; what it needs to know of what is there, `known_in` gives it.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from hypothesis.errors import FailedHealthCheck, Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode, HookContext, checks
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.transport.serialization import Binary

from drs_service.db.session_keys import MAX_OF_A_KIND
from drs_service.settings import Secret, Settings
from tests.support.postgres import Postgres
from tests.support.server import Service, running_beside

EXAMPLES = 10  # for each operation, of data that fits and of data that does not
# The same in each run, so that what CI sees is seen anywhere.
SAME = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=EXAMPLES,
    phases=[Phase.generate],
    # This one ends the search for data that does not fit after some fifty tries.
    suppress_health_check=[check for check in HealthCheck if check is not HealthCheck.filter_too_much],
)
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
KNOWN = [b"%d" % number for number in range(200)]  # what is there; more than the examples can delete
ANNOUNCED = b"announced"  # of every upload that is there

# The headers with which the ANNOUNCED bytes are sent.
TUS = {
    "Tus-Resumable": "1.0.0",
    "Upload-Length": str(len(ANNOUNCED)),
    "Upload-Offset": "0",
    "X-HTTP-Method-Override": "PATCH",
    **dict.fromkeys(("Upload-Checksum", "Upload-Concat", "Upload-Defer-Length", "Upload-Metadata")),
}
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
TEXTS = {
    "name": "reads.bam",
    "mime_type": "text/plain",
    "description": "aligned",
    "version": "2",
    "aliases": "NA12878",
    "type": "https",
    "url": "https://files.example.org/reads.bam",
    "headers": "Authorization: Basic dTpw",
    "drs_uri": "drs://drs.example.com/314159",
    "region": "eu-west-1",
    "cloud": "aws",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A session, and what opens it. All examples share it: its id and its secret come from different ones."""

    session_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class There:
    """What is there to be named."""

    object_id: str
    content: bytes
    upload_id: str
    live: Opened
    ended: Opened
    """To be watched: that has an end."""
    code: str
    """Of a link to the live session."""


@pytest.fixture(scope="module")
def beside(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own: what is made and unmade here nobody else minds."""
    with postgres.database() as url:
        places = Settings(
            database_url=Secret(url),
            storage_url=(tmp_path_factory.mktemp("schemathesis") / "store").as_uri(),
            public_url="https://drs.example.org",
            upload_idle_seconds=5,
            shutdown_grace_seconds=5,
        )
        with running_beside(places) as service:
            yield service


@pytest.fixture(scope="module")
def ours(beside: Service) -> BaseSchema:
    with httpx.Client(base_url=beside.url, timeout=20) as client:
        ids = [client.put(f"/upload/{number}.txt", content=known).json()["id"] for number, known in enumerate(KNOWN)]
        uploads = announced(client, len(KNOWN))
        live, ended = opened(client), opened(client)
        client.delete(f"/sessions/{ended.session_id}", headers=bearer(ended)).raise_for_status()
        codes = [code_of(client, live) for _ in range(MAX_OF_A_KIND)]
        document = client.get("/schema/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config(seed=1))
    schema.config.update(base_url=beside.url)
    there = [
        There(*one, live, ended, code)
        for one, code in zip(zip(ids, KNOWN, uploads, strict=True), itertools.cycle(codes), strict=False)
    ]
    watchable = [replace(one, live=one.ended) for one in there]

    def known(context: HookContext, strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
        has_no_end = context.operation is not None and context.operation.path.endswith("/events")
        return strategies.builds(known_in, strategy, strategies.sampled_from(watchable if has_no_end else there))

    def half_known(context: HookContext, strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
        return strategy | known(context, strategy)

    def known_half(context: HookContext, strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
        # The other way round: in the fixed sequence of choices a known path would else hardly meet a known body.
        return known(context, strategy) | strategy

    for what in ("path_parameters", "query"):
        schema.hooks.register_hook_with_name(half_known, f"before_generate_{what}")
    for what in ("headers", "body"):
        schema.hooks.register_hook_with_name(known_half, f"before_generate_{what}")
    return schema


def announced(client: httpx.Client, count: int) -> list[str]:
    """The ids of new uploads that wait for the ANNOUNCED bytes."""
    checksum = {"checksum": hashlib.sha256(ANNOUNCED).hexdigest(), "type": "sha-256"}
    file = {"name": "a.txt", "size": len(ANNOUNCED), "mime_type": "text/plain", "checksums": [checksum]}
    answer = client.post("/ga4gh/drs/v1/upload-request", json={"requests": [file] * count}).raise_for_status().json()
    urls = [one["upload_methods"][0]["access_url"]["url"] for one in answer["responses"]]
    return [url.rpartition("/")[2] for url in urls]


def opened(client: httpx.Client) -> Opened:
    """A new session."""
    made = client.post("/sessions", json={}).raise_for_status().json()
    return Opened(made["session"]["id"], made["secret"])


def bearer(one: Opened) -> dict[str, str]:
    return {"Authorization": f"Bearer {one.secret}"}


def code_of(client: httpx.Client, one: Opened) -> str:
    """Of a new link."""
    answer = client.post(f"/sessions/{one.session_id}/links", headers=bearer(one)).raise_for_status()
    url: str = answer.json()["url"]
    return url.rpartition("=")[2]


def known_in(data: Any, there: There, name: str = "") -> Any:
    """The data with what is there wherever it names an object, an access method or a checksum, and with what may be
    there wherever a text is not free."""
    match data:
        case {"checksum": str(), "type": str()}:
            return {"checksum": "a-2", "type": "etag"}  # this one nobody can work out
        case dict() if "Tus-Resumable" in data:
            return {key: value for key, value in {**data, **TUS}.items() if value is not None}
        case dict() if name == "tags":
            return {"sample": "NA12878"}
        case dict() if name == "candidates" and not data.keys() & {"access_methods", "checksums", "contents"}:
            return {"checksums": [{"checksum": hashlib.sha256(there.content).hexdigest(), "type": "sha-256"}]}
        case dict():
            left_out = "contents" if "access_methods" in data else ""  # one of the two makes a candidate
            return {key: known_in(value, there, key) for key, value in data.items() if key != left_out}
        case list():
            return [known_in(value, there, name) for value in data]
        case int() if name == "size":
            return len(there.content)
        case str() if name == "id" or name.rstrip("s").endswith("object_id"):
            return there.object_id
        case str() if name == "upload_id":
            return there.upload_id
        case str() if name == "session_id":
            return there.live.session_id
        case str() if name == "Authorization":
            return bearer(there.live)[name]
        case str() if name == "code":
            return there.code
        case Binary():
            return Binary(ANNOUNCED)
        case str() if name.rstrip("s").endswith("access_id"):
            return "https"
        case str() if name == "checksum":
            return hashlib.sha256(there.content).hexdigest()
    return TEXTS.get(name, data) if isinstance(data, str) else data


@pytest.mark.timeout(300)
def test_every_answer_is_one_that_the_document_tells_of(ours: BaseSchema, subtests: pytest.Subtests) -> None:
    operations = []
    for found in ours.get_all_operations():
        assert isinstance(found, Ok), found
        operations.append(found.ok())
    # What is deleted nobody else would find.
    for operation in sorted(operations, key=lambda one: one.method == "delete" or one.path.endswith("/delete")):
        with subtests.test(operation.label):
            fitting = driven(operation, GenerationMode.POSITIVE)
            other = driven(operation, GenerationMode.NEGATIVE)
            assert min(fitting) < 400, f"{operation.label} has never got as far as an answer: {fitting}"
            assert not other or max(other) >= 400, f"Nothing was refused: {other}"


def driven(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> Counter[int]:
    """How often the operation has given each status."""
    statuses: Counter[int] = Counter()

    @SAME
    @given(case=operation.as_strategy(generation_mode=mode))
    def drive(case: Case[Any]) -> None:
        answer = case.call()
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    try:
        drive()
    except (FailedHealthCheck, Unsatisfiable):
        # To an operation that takes text alone, or nothing, all data fits.
        assert mode is GenerationMode.NEGATIVE and not statuses
    return statuses
