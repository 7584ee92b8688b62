"""`/livez`: the process answers. `/readyz`: so does everything that it needs."""

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from drs_service.usecases.health import Health


class Alive(msgspec.Struct):
    status: str = "alive"


class Readiness(msgspec.Struct):
    """A part maps to `ok` or to what is wrong with it."""

    status: str
    parts: dict[str, str]


def routes(health: Health) -> list[HTTPRouteHandler]:
    headers = {"cache-control": "no-store"}

    @get("/livez", summary="Does the process answer?")
    async def livez() -> Response[Alive]:
        return Response(Alive(), headers=headers)

    @get("/readyz", summary="Do the database, the schema and the storage answer?")
    async def readyz() -> Response[Readiness]:
        findings = await health.examine()
        ready = all(finding.fault is None for finding in findings)
        parts = {finding.part: finding.fault or "ok" for finding in findings}
        answer = Readiness("ready" if ready else "not ready", parts)
        return Response(answer, status_code=200 if ready else 503, headers=headers)

    return [livez, readyz]
