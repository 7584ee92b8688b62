"""`/livez`: the process answers. `/readyz`: so does everything that it needs."""

from typing import Literal

import msgspec
from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.types import ASGIApp

from drs_service.api.answers import Json
from drs_service.api.errors import RETRY_AFTER
from drs_service.usecases.health import Health


class Alive(msgspec.Struct):
    status: Literal["alive"]


class Readiness(msgspec.Struct):
    """A part maps to `ok` or to what is wrong with it. `storage NAME` is a further place: the rest can do without, as
    it can with a storage that lets nobody delete.
    """

    status: str
    parts: dict[str, str]


def routes(health: Health) -> list[HTTPRouteHandler]:
    @route(
        "/livez",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="Does the process answer?",
        responses={200: ResponseSpec(Alive, description="It does.")},
    )
    async def livez() -> ASGIApp:
        return Json(Alive("alive"), cache_control="no-store")

    @route(
        "/readyz",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="Do the database, the schema and the storage answer?",
        responses={
            200: ResponseSpec(Readiness, description="They do."),
            503: ResponseSpec(Readiness, description="One of them does not."),
        },
    )
    async def readyz() -> ASGIApp:
        findings = await health.examine()
        ready = all(finding.fault is None for finding in findings if finding.needed)
        parts = {finding.part: finding.fault or "ok" for finding in findings}
        answer = Readiness("ready" if ready else "not ready", parts)
        if ready:
            return Json(answer, cache_control="no-store")
        return Json(answer, status=503, cache_control="no-store", headers={"retry-after": RETRY_AFTER})

    return [livez, readyz]
