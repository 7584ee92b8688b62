"""What DRS 1.5.0 puts on the wire, as JSON Schemas. They are stricter than its own: what we never send is not allowed.

Written by hand from the specification, so that a mistake in our shapes is not repeated here.
"""

from typing import Any

import httpx
import jsonschema

from tests.support.raw_http import Answer

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
# RFC 3339, with the zone that DRS asks for.
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
PORTABLE_NAME: Schema = {"type": "string", "pattern": r"^(?!-)(?!\.{1,2}$)[A-Za-z0-9._-]+$"}


def record(required: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


ACCESS_URL = record({"url": {"type": "string", "pattern": "^https://drs\\.example\\.org/"}})
CHECKSUM = record({"checksum": {"type": "string", "pattern": "^([0-9a-f]{2})+$"}, "type": TEXT})
ACCESS_METHOD = record(
    {
        "type": {"enum": ["s3", "gs", "ftp", "gsiftp", "globus", "htsget", "https", "file"]},
        "access_url": ACCESS_URL,
        "access_id": {"type": "string", "pattern": "^[A-Za-z0-9._~-]+$"},
    }
)
DRS_OBJECT = record(
    {
        "id": {"type": "string", "pattern": "^[A-Za-z0-9._~-]+$"},
        "self_uri": {"type": "string", "pattern": "^drs://[A-Za-z0-9.-]+/[A-Za-z0-9._~-]+$"},
        "size": {"type": "integer", "minimum": 0},
        "created_time": TIME,
        "updated_time": TIME,
        "checksums": {"type": "array", "minItems": 1, "items": CHECKSUM},
        "name": PORTABLE_NAME,
        "mime_type": {"type": "string", "pattern": "^[^/ ]+/[^/ ]+"},
        "access_methods": {"type": "array", "minItems": 1, "items": ACCESS_METHOD},
    },
    {"description": TEXT, "version": TEXT, "aliases": {"type": "array", "minItems": 1, "items": TEXT}},
)
DRS_OBJECTS = record({"objects": {"type": "array", "minItems": 1, "items": DRS_OBJECT}})
ERROR = record({"msg": TEXT, "status_code": {"type": "integer"}, "code": {"type": "string", "pattern": "^[a-z_]+$"}})
# The 1.6 draft (pull/418): what is supported, and how much of it at once.
DRAFT_FLAGS: Schema = {
    name: {"type": "boolean"}
    for name in (
        "uploadRequestSupported",
        "objectRegistrationSupported",
        "validateChecksums",
        "validateFileSizes",
        "validateAccessMethods",
        "relatedFileStorageSupported",
        "deleteSupported",
        "deleteStorageDataSupported",
        "metadataRetentionSupported",
        "accessMethodUpdateSupported",
        "checksumAdditionSupported",
        "fetchByChecksumSupported",
    )
} | {
    name: {"type": "integer", "minimum": 1}
    for name in (
        "maxUploadSize",
        "maxUploadRequestLength",
        "maxRegisterRequestLength",
        "maxBulkDeleteLength",
        "maxBulkAccessMethodUpdateLength",
        "maxBulkChecksumAdditionLength",
    )
}
DRAFT_FLAGS["supportedUploadMethodTypes"] = {"type": "array", "minItems": 1, "items": TEXT}
SERVICE_INFO = record(
    {
        "id": TEXT,
        "name": TEXT,
        "type": record({"group": {"const": "org.ga4gh"}, "artifact": {"const": "drs"}, "version": {"const": "1.5.0"}}),
        "organization": record({"name": TEXT, "url": {"type": "string", "pattern": "^https?://"}}),
        "version": TEXT,
        "maxBulkRequestLength": {"type": "integer", "minimum": 1},
        "drs": record(
            {"maxBulkRequestLength": {"type": "integer", "minimum": 1}} | DRAFT_FLAGS,
            {"objectCount": {"type": "integer"}, "totalObjectSize": {"type": "integer"}},
        ),
    }
)


def assert_valid(document: Any, schema: Schema) -> None:
    jsonschema.Draft202012Validator(schema).validate(document)


def assert_refused(answer: Answer | httpx.Response, status: int, code: str) -> None:
    """The answer is DRS's Error, and says the same in its status as in its body."""
    known = answer.status if isinstance(answer, Answer) else answer.status_code
    body = answer.json()
    assert_valid(body, ERROR)
    assert (known, body["status_code"], body["code"]) == (status, status, code), body
    assert answer.headers["content-type"] == "application/json"
