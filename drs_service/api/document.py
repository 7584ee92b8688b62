"""The OpenAPI document: what holds of every operation is said here once, so that no route can forget it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Litestar
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import OpenAPI, OpenAPIMediaType, OpenAPIType, Operation, Parameter, RequestBody, Schema
from litestar.routes import HTTPRoute

from drs_service.api.guard import SAFE

Document = dict[str, Any]

ALWAYS = {
    400: "The request is wrong as it stands.",
    421: "The request is meant for another host.",
    500: "The service made a mistake. It has been logged.",
    503: "The database or the storage does not answer. Try again later.",
}
# What changes anything is refused to a page of another origin.
CHANGES = {403: "You may not do this."}
RETRY_AFTER = {"description": "Seconds.", "required": True, "schema": {"type": "string", "pattern": r"^\d+$"}}
ALONE = {"/livez"}  # asks neither the database nor the storage, and so cannot miss them


class Documented(OpenAPIConfig):
    """The configuration of a document that is completed by the rules of this module."""

    def to_openapi_schema(self) -> OpenAPI:
        return Completed(**vars(super().to_openapi_schema()))


class Completed(OpenAPI):
    def to_schema(self) -> Document:
        document = super().to_schema()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                complete(path, method.upper(), operation["responses"])
        return document


def complete(path: str, method: str, responses: Document) -> None:
    for status, description in (ALWAYS if method in SAFE else ALWAYS | CHANGES).items():
        if not (status == 503 and path in ALONE):
            responses.setdefault(str(status), refusal(description))
    if "$ref" not in responses["400"].get("content", {}).get("application/json", {}).get("schema", {}):
        # The framework describes what it would answer itself; but it is we who answer (errors.py).
        responses["400"] = refusal(ALWAYS[400])
    for again in responses.keys() & {"423", "429", "503"}:
        responses[again].setdefault("headers", {})["Retry-After"] = RETRY_AFTER
    if method == "HEAD":
        # RFC 9110 9.3.2: the answer to a HEAD has no content.
        for response in responses.values():
            response.pop("content", None)


def refusal(description: str) -> Document:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def leave_out_examples(app: Litestar) -> None:
    """The framework would invent some at random, new ones in each process."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                for response in (handler.responses or {}).values():
                    response.generate_examples = False


def header(name: str, description: str, *, pattern: str | None = None, required: bool = False) -> Parameter:
    schema = Schema(type=OpenAPIType.STRING, pattern=pattern)
    return Parameter(name, param_in="header", schema=schema, description=description, required=required)


def operation(
    *, headers: Sequence[Parameter] = (), media_type: str | None = None, body: Schema | None = None
) -> type[Operation]:
    """An operation whose handler reads headers, or the body as it arrives, of which the framework knows nothing."""

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            self.parameters = [*(self.parameters or []), *headers] or None
            if media_type is not None:
                self.request_body = RequestBody({media_type: OpenAPIMediaType(schema=body)}, required=True)

    return Described


IF_NONE_MATCH = header("If-None-Match", "What the client has; a 304 says that it still holds.")
CONDITIONAL = operation(headers=[IF_NONE_MATCH])
UNCHANGED = {304: ResponseSpec(None, description="The client has it already.")}
