"""`/service-info`: GA4GH Service Info 1.0.0, and what DRS 1.5.0 adds to it."""

import importlib.metadata

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler

from drs_service.api.drs.shapes import VERSION

MAX_BULK_REQUEST_LENGTH = 1000


class Organization(msgspec.Struct, kw_only=True):
    name: str
    url: str


class ServiceType(msgspec.Struct, kw_only=True):
    group: str = "org.ga4gh"
    artifact: str = "drs"
    version: str = VERSION


class DrsInfo(msgspec.Struct, kw_only=True, rename="camel"):
    max_bulk_request_length: int


class ServiceInfo(msgspec.Struct, kw_only=True, rename="camel"):
    """Who serves here, and how far it goes."""

    id: str
    name: str
    type: ServiceType
    organization: Organization
    version: str
    # DRS 1.5.0 requires the limit at the root, deprecates it there, and requires it under `drs` as well.
    max_bulk_request_length: int
    drs: DrsInfo


def route(*, service_id: str, name: str, organization: str, organization_url: str) -> HTTPRouteHandler:
    info = ServiceInfo(
        id=service_id,
        name=name,
        type=ServiceType(),
        organization=Organization(name=organization, url=organization_url),
        version=importlib.metadata.version("drs-service"),
        max_bulk_request_length=MAX_BULK_REQUEST_LENGTH,
        drs=DrsInfo(max_bulk_request_length=MAX_BULK_REQUEST_LENGTH),
    )

    @get("/service-info", summary="Describe this service", cache_control=None)
    async def service_info() -> ServiceInfo:
        return info

    return service_info
