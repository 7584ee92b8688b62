"""Our document against DRS 1.5.0, as a table: paths, methods, parameters, bodies, statuses, members and enumerations.

The table is written by hand from the released document (github.com/ga4gh/data-repository-service-schemas, tag 1.5.0).
`!` marks what is required; `[kind]` is an array, a set is an enumeration, a capital letter begins the name of a schema.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio

from drs_service.api.public import DRS_PATH

# What the specification has and our document has not, yet. In the end this is empty.
# What our document has otherwise on purpose. A bulk request for nothing is a mistake of the client's: 400.
# What was deleted is 410, which the 1.6 draft asks for in its text and leaves out of its tables.
DELIBERATE = {
    "GET /objects/{object_id}: 410",
    "POST /objects/{object_id}: 410",
    "OPTIONS /objects/{object_id}: 410",
    "GET /objects/{object_id}/access/{access_id}: 410",
    "POST /objects/{object_id}/access/{access_id}: 410",
    "GET /objects/{object_id}/access/{access_id}: 409",  # in an archive, and readers may bring nothing back
    "POST /objects/{object_id}/access/{access_id}: 409",
    "POST /objects: takes only with bulk_object_ids",
    "OPTIONS /objects: takes only with bulk_object_ids",
    "OPTIONS /objects: takes passports, which the specification has not",  # one shape for both; nobody looks at them
    "POST /objects/access: takes only with bulk_object_access_ids",
    "POST /objects/access: bulk_object_access_ids takes only with bulk_object_id",
    "POST /objects/access: bulk_object_access_ids takes only with bulk_access_ids",
    "GET /service-info: 400",  # what cannot be read is refused anywhere
    "Error.code: not in the specification",  # the stable name of what went wrong
}
# Statuses beyond those of the specification: a conditional GET, a page of another origin, a bulk limit, a Host that is
# not ours, a database that does not answer.
MORE_STATUSES = {304, 403, 413, 421, 503}

# What may be there, as the draft of 1.6 has it: routes, and members of answers.
DRAFT_OPERATIONS = {
    "GET /objects",
    "GET /objects/checksum/{checksum}",
    "POST /objects/register",
    "POST /objects/{object_id}/tags",
    "POST /upload-request",
    "PUT /objects/access-methods",
    "PUT /objects/checksums",
    "PUT /objects/delete",
    "PUT /objects/{object_id}/access-methods",
    "PUT /objects/{object_id}/checksums",
    "PUT /objects/{object_id}/delete",
}
DRAFT_MEMBERS = {
    "DrsObject.tags",
    "Service.drs.accessMethodUpdateSupported",
    "Service.drs.checksumAdditionSupported",
    "Service.drs.deleteStorageDataSupported",
    "Service.drs.deleteSupported",
    "Service.drs.fetchByChecksumSupported",
    "Service.drs.maxBulkAccessMethodUpdateLength",
    "Service.drs.maxBulkChecksumAdditionLength",
    "Service.drs.maxBulkDeleteLength",
    "Service.drs.maxRegisterRequestLength",
    "Service.drs.maxUploadRequestLength",
    "Service.drs.maxUploadSize",
    "Service.drs.metadataRetentionSupported",
    "Service.drs.objectRegistrationSupported",
    "Service.drs.relatedFileStorageSupported",
    "Service.drs.supportedUploadMethodTypes",
    "Service.drs.uploadRequestSupported",
    "Service.drs.validateAccessMethods",
    "Service.drs.validateChecksums",
    "Service.drs.validateFileSizes",
}

Members = dict[str, Any]  # name, with `!` if it is required -> kind

SUMMARY: Members = {"requested": "integer", "resolved": "integer", "unresolved": "integer"}
UNRESOLVED = [{"error_code": "integer", "object_ids": ["string"]}]

SCHEMAS: dict[str, Members] = {
    "AccessMethod": {
        "type!": {"s3", "gs", "ftp", "gsiftp", "globus", "htsget", "https", "file"},
        "access_url": "AccessURL",
        "access_id": "string",
        "cloud": "string",
        "region": "string",
        "available": "boolean",
        "authorizations": "Authorizations",
    },
    "AccessURL": {"url!": "string", "headers": ["string"]},
    "Authorizations": {
        "drs_object_id": "string",
        "supported_types": [{"None", "BasicAuth", "BearerAuth", "PassportAuth"}],
        "passport_auth_issuers": ["string"],
        "bearer_auth_issuers": ["string"],
    },
    "BulkAccessURL": {"drs_object_id": "string", "drs_access_id": "string", "url!": "string", "headers": ["string"]},
    "BulkAccessURLs": {
        "summary": SUMMARY,
        "unresolved_drs_objects": UNRESOLVED,
        "resolved_drs_object_access_urls": ["BulkAccessURL"],
    },
    "BulkAuthorizations": {
        "summary": SUMMARY,
        "unresolved_drs_objects": UNRESOLVED,
        "resolved_drs_object": ["Authorizations"],
    },
    "BulkObjects": {
        "summary": SUMMARY,
        "unresolved_drs_objects": UNRESOLVED,
        "resolved_drs_object": ["DrsObject"],
    },
    "Checksum": {"checksum!": "string", "type!": "string"},
    "ContentsObject": {"name!": "string", "id": "string", "drs_uri": ["string"], "contents": ["ContentsObject"]},
    "DrsObject": {
        "id!": "string",
        "name": "string",
        "self_uri!": "string",
        "size!": "integer",
        "created_time!": "date-time",
        "updated_time": "date-time",
        "version": "string",
        "mime_type": "string",
        "checksums!": ["Checksum"],
        "access_methods": ["AccessMethod"],
        "contents": ["ContentsObject"],
        "description": "string",
        "aliases": ["string"],
    },
    "Error": {"msg": "string", "status_code": "integer"},
    "Service": {
        "id!": "string",
        "name!": "string",
        "type!": {"group!": "string", "artifact!": {"drs"}, "version!": "string"},
        "description": "string",
        "organization!": {"name!": "string", "url!": "string"},
        "contactUrl": "string",
        "documentationUrl": "string",
        "createdAt": "date-time",
        "updatedAt": "date-time",
        "environment": "string",
        "version!": "string",
        "maxBulkRequestLength!": "integer",
        "drs": {"maxBulkRequestLength!": "integer", "objectCount": "integer", "totalObjectSize": "integer"},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """answers: the schema of a 200. statuses: the others, which all have an Error or nothing."""

    answers: str
    statuses: set[int]
    parameters: set[str] = field(default_factory=set)
    takes: Members | None = None


OBJECT_ID = "object_id! in path"
ACCESS_ID = "access_id! in path"
EXPAND = "expand in query"
PASSPORTS: Members = {"passports": ["string"]}
BULK_IDS: Members = {"bulk_object_ids": ["string"]}
BULK_ACCESS_IDS: Members = {
    "bulk_object_access_ids": [{"bulk_object_id": "string", "bulk_access_ids": ["string"]}],
}
REFUSED = {202, 400, 401, 403, 404, 500}
UNSUPPORTED = {204, 400, 404, 405, 500}  # of OPTIONS

OPERATIONS = {
    "GET /service-info": Operation(answers="Service", statuses={500}),
    "OPTIONS /objects/{object_id}": Operation(answers="Authorizations", statuses=UNSUPPORTED, parameters={OBJECT_ID}),
    "GET /objects/{object_id}": Operation(answers="DrsObject", statuses=REFUSED, parameters={OBJECT_ID, EXPAND}),
    "POST /objects/{object_id}": Operation(
        answers="DrsObject", statuses=REFUSED, parameters={OBJECT_ID}, takes={"expand": "boolean"} | PASSPORTS
    ),
    "OPTIONS /objects": Operation(answers="BulkAuthorizations", statuses=UNSUPPORTED | {413}, takes=BULK_IDS),
    "POST /objects": Operation(
        answers="BulkObjects", statuses=REFUSED | {413}, parameters={EXPAND}, takes=BULK_IDS | PASSPORTS
    ),
    "GET /objects/{object_id}/access/{access_id}": Operation(
        answers="AccessURL", statuses=REFUSED, parameters={OBJECT_ID, ACCESS_ID}
    ),
    "POST /objects/{object_id}/access/{access_id}": Operation(
        answers="AccessURL", statuses=REFUSED, parameters={OBJECT_ID, ACCESS_ID}, takes=PASSPORTS
    ),
    "POST /objects/access": Operation(
        answers="BulkAccessURLs", statuses=REFUSED | {413}, takes=BULK_ACCESS_IDS | PASSPORTS
    ),
}

Json = dict[str, Any]


class Comparison:
    """Every way in which a document of ours differs from the table, in a line each."""

    def __init__(self, document: Json) -> None:
        self._schemas: Json = document["components"]["schemas"]
        self._ours = {
            f"{method.upper()} {path.removeprefix(DRS_PATH)}": operation
            for path, methods in document["paths"].items()
            if path.startswith(DRS_PATH + "/")
            for method, operation in methods.items()
        }

    def differences(self) -> Iterator[str]:
        for name, operation in OPERATIONS.items():
            if name in self._ours:
                yield from self._operation(name, self._ours[name], operation)
            else:
                yield f"{name}: missing"
        for name in self._ours.keys() - OPERATIONS.keys() - DRAFT_OPERATIONS:
            # Whatever can be had by GET can be asked for by HEAD (RFC 9110 9.1); the specification is silent on it.
            if name.replace("HEAD ", "GET ", 1) not in OPERATIONS.keys() | DRAFT_OPERATIONS:
                yield f"{name}: not in the specification"

    def _operation(self, name: str, ours: Json, spec: Operation) -> Iterator[str]:
        # Headers are HTTP's business, not that of the specification.
        parameters = {
            f"{one['name']}{'!' if one.get('required') else ''} in {one['in']}"
            for one in ours.get("parameters", [])
            if one["in"] != "header"
        }
        yield from (f"{name}: no parameter {one}" for one in spec.parameters - parameters)
        yield from (
            f"{name}: parameter {one}, which is not in the specification" for one in parameters - spec.parameters
        )
        body = ours.get("requestBody")
        if (body is None) != (spec.takes is None):
            yield f"{name}: {'no body' if body is None else 'a body, which is not in the specification'}"
        elif body is not None and spec.takes is not None:
            if not body.get("required"):
                yield f"{name}: the body is not required"
            yield from self._taken(name + ":", body["content"]["application/json"]["schema"], spec.takes)
        answers = {int(status): answer for status, answer in ours["responses"].items()}
        yield from (f"{name}: {status}" for status in answers.keys() - spec.statuses - MORE_STATUSES - {200})
        for status, answer in answers.items():
            kind = spec.answers if status == 200 else "Error"
            for schema in answer.get("content", {}).values():
                yield from self._kind(kind, schema["schema"], kind)
        if "application/json" not in answers[200].get("content", {}):
            yield f"{name}: 200 is not said to be JSON"

    def _taken(self, where: str, schema: Json, spec: Members) -> Iterator[str]:
        """What a client may send: all of the specification must do, and nothing else be asked for."""
        ours = self._resolved(schema)
        required = {name.rstrip("!") for name in spec if name.endswith("!")}
        kinds = {name.rstrip("!"): kind for name, kind in spec.items()}
        yield from (f"{where} does not take {name}" for name in kinds.keys() - ours["properties"].keys())
        yield from (f"{where} takes only with {name}" for name in set(ours.get("required", [])) - required)
        for name, member in ours["properties"].items():
            if name not in kinds:
                yield f"{where} takes {name}, which the specification has not"
            elif isinstance(kinds[name], list) and isinstance(kinds[name][0], Mapping):
                yield from self._taken(f"{where} {name}", self._resolved(member)["items"], kinds[name][0])
            else:
                yield from self._kind(f"{where} {name}", member, kinds[name])

    def _kind(self, where: str, schema: Json, kind: Any) -> Iterator[str]:
        """What we send: nothing else than what the specification has, and all that it requires."""
        ours = self._resolved(schema)
        if isinstance(kind, str) and kind in SCHEMAS:
            if where != kind and where.startswith(kind + "."):
                return  # a schema within itself was compared on the way here
            where, kind = kind, SCHEMAS[kind]
        match kind:
            case list():
                if ours.get("type") == "array":
                    yield from self._kind(where, ours["items"], kind[0])
                else:
                    yield f"{where}: not an array"
            case set():
                values = {ours["const"]} if "const" in ours else set(ours.get("enum", []))
                if not values or not values <= kind:
                    yield f"{where}: not one of {', '.join(sorted(kind))}"
            case dict():
                yield from self._members(where, ours, kind)
            case "date-time":
                if (ours.get("type"), ours.get("format")) != ("string", kind):
                    yield f"{where}: not a time"
            case _:
                if ours.get("type") != kind:
                    yield f"{where}: not of kind {kind}"

    def _members(self, where: str, ours: Json, spec: Members) -> Iterator[str]:
        kinds = {name.rstrip("!"): kind for name, kind in spec.items()}
        for name, member in ours.get("properties", {}).items():
            full = f"{where}.{name}"
            if name in kinds:
                yield from self._kind(full, member, kinds[name])
            elif full not in DRAFT_MEMBERS:
                yield f"{full}: not in the specification"
        for name in spec:
            if name.endswith("!") and name[:-1] not in ours.get("required", []):
                yield f"{where}.{name[:-1]}: not required"

    def _resolved(self, schema: Json) -> Json:
        """The schema itself. Where it is a choice that is none, what it comes to; with null it stays a choice."""
        while "$ref" in schema or len(schema.get("oneOf", [])) == 1:
            schema = schema["oneOf"][0] if "oneOf" in schema else self._schemas[schema["$ref"].rpartition("/")[2]]
        return schema


@pytest_asyncio.fixture(loop_scope="session")
async def document(client: httpx.AsyncClient) -> Json:
    document: Json = (await client.get("/schema/openapi.json")).json()
    return document


async def test_the_document_is_that_of_the_specification(document: Json) -> None:
    found = set(Comparison(document).differences())
    assert found == DELIBERATE


@pytest.mark.parametrize(
    ("path", "change", "difference"),
    [
        (["paths", DRS_PATH + "/objects/access"], None, "POST /objects/access: missing"),
        (
            ["paths", DRS_PATH + "/objects/{object_id}", "get", "responses", "418"],
            {},
            "GET /objects/{object_id}: 418",
        ),
        (["components", "schemas", "AccessMethod", "properties", "type"], {"type": "string"}, "AccessMethod.type: not"),
        (["components", "schemas", "Checksum", "required"], ["type"], "Checksum.checksum: not required"),
        (["components", "schemas", "DrsObject", "properties", "size"], {"type": "string"}, "DrsObject.size: not"),
        (["components", "schemas", "DrsObject", "properties", "kind"], {"type": "string"}, "DrsObject.kind: not in"),
        (
            ["components", "schemas", "DrsInfo", "properties", "objectCount"],
            {"type": "null"},
            "Service.drs.objectCount",
        ),
        (["components", "schemas", "ObjectRequest", "properties", "expand"], None, "POST /objects/{object_id}: does"),
    ],
)
async def test_a_difference_is_seen(document: Json, path: list[str], change: object, difference: str) -> None:
    *way, last = path
    place = document
    for step in way:
        place = place[step]
    if change is None:
        del place[last]
    else:
        place[last] = change
    found = set(Comparison(document).differences()) - DELIBERATE
    assert len(found) == 1
    assert found.pop().startswith(difference)
