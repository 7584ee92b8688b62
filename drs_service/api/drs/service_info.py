"""`/service-info`: GA4GH Service Info 1.0.0, and what DRS 1.5.0 adds to it."""

import importlib.metadata
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.types import ASGIApp

from drs_service.api.answers import Json
from drs_service.api.document import CONDITIONAL, UNCHANGED
from drs_service.api.drs.shapes import VERSION
from drs_service.usecases.statistics import Statistics

CACHE_CONTROL = "public, max-age=60"


class Organization(msgspec.Struct, kw_only=True):
    name: str
    url: str


class ServiceType(msgspec.Struct, kw_only=True):
    group: Literal["org.ga4gh"]
    artifact: Literal["drs"]
    version: str


class DrsInfo(msgspec.Struct, kw_only=True, rename="camel"):
    max_bulk_request_length: int
    object_count: int
    total_object_size: int


class Service(msgspec.Struct, kw_only=True, rename="camel"):
    """Who serves here: GA4GH Service Info 1.0.0."""

    id: str
    name: str
    type: ServiceType
    organization: Organization
    version: str


class ServiceInfo(Service, kw_only=True, rename="camel"):
    """Who serves here, and how far it goes."""

    # DRS 1.5.0 requires the limit at the root, deprecates it there, and requires it under `drs` as well.
    max_bulk_request_length: int
    drs: DrsInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the operator says of the service."""

    id: str
    name: str
    organization_name: str
    organization_url: str

    def said_with(self, drs_version: str) -> dict[str, Any]:
        """The members of a service info, in a version of DRS."""
        return {
            "id": self.id,
            "name": self.name,
            "type": ServiceType(group="org.ga4gh", artifact="drs", version=drs_version),
            "organization": Organization(name=self.organization_name, url=self.organization_url),
            "version": importlib.metadata.version("drs-service"),
        }


def routes(statistics: Statistics, identity: Identity, *, max_bulk: int) -> list[HTTPRouteHandler]:
    @route(
        "/service-info",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        summary="Describe this service",
        responses={200: ResponseSpec(ServiceInfo, description="This service."), **UNCHANGED},
        operation_class=CONDITIONAL,
    )
    async def service_info() -> ASGIApp:
        totals = await statistics.totals()
        info = ServiceInfo(
            **identity.said_with(VERSION),
            max_bulk_request_length=max_bulk,
            drs=DrsInfo(max_bulk_request_length=max_bulk, object_count=totals.objects, total_object_size=totals.bytes),
        )
        return Json(info, cache_control=CACHE_CONTROL, cached=True)

    return [service_info]
