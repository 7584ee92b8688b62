"""`/service-info`: GA4GH Service Info 1.0.0, and what DRS 1.5.0 and the 1.6 draft add to it.

Draft: https://github.com/ga4gh/data-repository-service-schemas/pull/418.
"""

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
    """What DRS 1.5.0 asks for, and what the 1.6 draft lets a client find out before it writes."""

    max_bulk_request_length: int
    object_count: int
    total_object_size: int

    upload_request_supported: bool = True
    supported_upload_method_types: list[Literal["https"]] = msgspec.field(default_factory=lambda: ["https"])
    max_upload_size: int
    max_upload_request_length: int
    object_registration_supported: bool = True
    max_register_request_length: int
    validate_checksums: bool
    """Of uploads and of what is elsewhere: so only where the latter is looked at."""
    validate_file_sizes: bool = True
    """Of uploads."""
    validate_access_methods: bool
    related_file_storage_supported: bool = False
    """Bytes lie under their digest."""
    delete_supported: bool = True
    max_bulk_delete_length: int
    delete_storage_data_supported: bool = True
    metadata_retention_supported: bool = True
    access_method_update_supported: bool = True
    max_bulk_access_method_update_length: int
    checksum_addition_supported: bool = True
    max_bulk_checksum_addition_length: int
    fetch_by_checksum_supported: bool = True


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far the service goes."""

    max_bulk: int
    max_upload_bytes: int
    verify_external: bool


def routes(statistics: Statistics, identity: Identity, reach: Reach) -> list[HTTPRouteHandler]:
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
            max_bulk_request_length=reach.max_bulk,
            drs=DrsInfo(
                max_bulk_request_length=reach.max_bulk,
                object_count=totals.objects,
                total_object_size=totals.bytes,
                max_upload_size=reach.max_upload_bytes,
                max_upload_request_length=reach.max_bulk,
                max_register_request_length=reach.max_bulk,
                validate_checksums=reach.verify_external,
                validate_access_methods=reach.verify_external,
                max_bulk_delete_length=reach.max_bulk,
                max_bulk_access_method_update_length=reach.max_bulk,
                max_bulk_checksum_addition_length=reach.max_bulk,
            ),
        )
        return Json(info, cache_control=CACHE_CONTROL, cached=True)

    return [service_info]
