"""`/metrics`: the figures of the service, for Prometheus."""

from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.response.base import ASGIResponse
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from drs_service.api.metrics.exposition import Exposition

TEXT = CONTENT_TYPE_PLAIN_0_0_4.removesuffix("; charset=utf-8")  # which the framework adds


def routes(exposition: Exposition) -> list[HTTPRouteHandler]:
    @route(
        "/metrics",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="The figures of the service, for Prometheus",
        responses={200: ResponseSpec(str, description="In Prometheus's text format 0.0.4.", media_type="text/plain")},
    )
    async def get_metrics() -> ASGIResponse:
        body = await exposition.render()
        return ASGIResponse(body=body, media_type=TEXT, headers={"cache-control": "no-store"})

    return [get_metrics]
