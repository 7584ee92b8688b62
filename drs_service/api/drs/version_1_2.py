"""DRS 1.2.0 for clients that take nothing newer: what 1.3 to 1.6 have added is left out.

https://ga4gh.github.io/data-repository-service-schemas/preview/release/drs-1.2.0/docs/
"""

from litestar import route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import UNSET

from drs_service.api.answers import Json
from drs_service.api.drs import objects as drs_objects
from drs_service.api.drs import shapes
from drs_service.api.drs.rendering import Rendering
from drs_service.api.drs.service_info import CACHE_CONTROL, Identity, Service
from drs_service.api.public import PublicUrls
from drs_service.domain.objects import DrsObject
from drs_service.usecases.bundles import Bundles
from drs_service.usecases.objects import Objects
from drs_service.usecases.signing import Signing

VERSION = "1.2.0"


def routes(
    objects: Objects[Json], bundles: Bundles, urls: PublicUrls, signing: Signing, identity: Identity
) -> list[HTTPRouteHandler]:
    info = Json(Service(**identity.said_with(VERSION)), cache_control=CACHE_CONTROL, cached=True)

    @route("/service-info", http_method=[HttpMethod.GET, HttpMethod.HEAD])
    async def service_info() -> ASGIApp:
        return info

    return [service_info, *drs_objects.routes(objects, Rendering(bundles, urls, shape=shape), urls, signing)]


def shape(stored: DrsObject, urls: PublicUrls) -> shapes.DrsObject:
    """An object without its contents, and without tags, clouds and availability, of which 1.2 knows nothing."""
    whole = shapes.shape(stored, urls)
    whole.tags = UNSET
    for method in whole.access_methods or ():
        method.cloud = method.available = UNSET
    return whole
