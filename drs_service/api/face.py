"""The whole HTTP face, from the use cases that it is a face of."""

import importlib.metadata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Server
from litestar.types import ASGIApp

from drs_service.api import files, health, jobs
from drs_service.api.answers import Json
from drs_service.api.archives import ArchiveAnswers
from drs_service.api.cors import Cors
from drs_service.api.document import Documented, leave_out_examples
from drs_service.api.drs import bulk, changing, finding, registering, service_info, version_1_2
from drs_service.api.drs import objects as drs_objects
from drs_service.api.drs.rendering import Rendering
from drs_service.api.errors import EXCEPTION_HANDLERS
from drs_service.api.guard import Guard, Visitors
from drs_service.api.json_requests import JsonRequest
from drs_service.api.metrics import routes as metrics
from drs_service.api.metrics.exposition import Exposition
from drs_service.api.metrics.tally import Tallied, Tally
from drs_service.api.public import DRS_PATH, PublicUrls
from drs_service.api.schema_page import SchemaPage, prepare
from drs_service.api.sessions import entering, events
from drs_service.api.sessions import routes as sessions
from drs_service.api.uploads import announced, direct, progress, resumable
from drs_service.api.uploads import routes as uploads
from drs_service.api.uploads.draft import Draft
from drs_service.api.uploads.tus import Tus
from drs_service.usecases.announcing import Announcing
from drs_service.usecases.archives import Archives
from drs_service.usecases.bundles import Bundles
from drs_service.usecases.changing import Changing
from drs_service.usecases.directing import Directing
from drs_service.usecases.downloads import Downloads
from drs_service.usecases.finding import Finding
from drs_service.usecases.health import Health
from drs_service.usecases.jobs import Jobs
from drs_service.usecases.objects import Objects
from drs_service.usecases.registering import Registering
from drs_service.usecases.resuming import Resuming
from drs_service.usecases.sessions import Sessions
from drs_service.usecases.signing import Signing
from drs_service.usecases.statistics import Statistics
from drs_service.usecases.underway import UploadsUnderway
from drs_service.usecases.uploads import Uploads

MAX_BODY = 2 * 1024**2  # bytes, where nothing else is said: a bulk request of 1,000 ids has some 130 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    objects: Objects[Json]
    downloads: Downloads
    archives: Archives
    signing: Signing
    uploads: Uploads
    bundles: Bundles
    finding: Finding
    registering: Registering
    changing: Changing
    announcing: Announcing
    resuming: Resuming
    directing: Directing | None
    underway: UploadsUnderway
    jobs: Jobs
    sessions: Sessions
    statistics: Statistics
    health: Health


def build(
    usecases: UseCases,
    urls: PublicUrls,
    identity: service_info.Identity,
    reach: service_info.Reach,
    *,
    upload_idle: float,
    upload_lifetime: int,
    max_form_files: int,
    visitors: Visitors,
    origins: Collection[str],
    prefix_1_2: str | None,
    tally: Tally,
    exposition: Exposition,
) -> ASGIApp:
    rendering = Rendering(usecases.bundles, urls)
    drs: Sequence[HTTPRouteHandler] = [
        *service_info.routes(usecases.statistics, identity, reach),
        *bulk.routes(usecases.objects, rendering, urls, usecases.signing, most=reach.max_bulk),
        *finding.routes(usecases.finding, rendering),
        *drs_objects.routes(usecases.objects, rendering, urls, usecases.signing),
        *registering.routes(usecases.registering, usecases.announcing, rendering, urls, most=reach.max_bulk),
        *changing.routes(usecases.changing, rendering, urls, most=reach.max_bulk),
    ]
    mounts = [Router(DRS_PATH, route_handlers=drs, tags=["DRS"])]
    if prefix_1_2 is not None:
        older = version_1_2.routes(usecases.objects, usecases.bundles, urls, usecases.signing, identity)
        mounts.append(Router(prefix_1_2 + DRS_PATH, route_handlers=older, include_in_schema=False))
    most = reach.max_upload_bytes
    tus = Tus(usecases.resuming, urls, idle=upload_idle, max_bytes=most)
    draft = Draft(usecases.resuming, usecases.objects, urls, idle=upload_idle, max_bytes=most, lifetime=upload_lifetime)
    app = Litestar(
        route_handlers=[
            *mounts,
            *files.routes(usecases.objects, usecases.downloads, usecases.signing, ArchiveAnswers(usecases.archives)),
            *uploads.routes(usecases.uploads, urls, idle=upload_idle, max_files=max_form_files),
            *announced.routes(usecases.announcing, urls, idle=upload_idle, max_fields=max_form_files),
            *progress.routes(usecases.resuming, usecases.underway, urls, direct=usecases.directing is not None),
            *(direct.routes(usecases.directing, urls) if usecases.directing is not None else []),
            Router(
                "/",
                route_handlers=resumable.routes(tus, draft),
                exception_handlers=resumable.exception_handlers(draft),
                tags=["tus"],
            ),
            *jobs.routes(usecases.jobs),
            *sessions.routes(usecases.sessions, urls),
            *entering.routes(usecases.sessions, urls),
            *events.routes(usecases.sessions, urls),
            *health.routes(usecases.health),
            *metrics.routes(exposition),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=MAX_BODY,
        request_class=JsonRequest,
        openapi_config=Documented(
            title="DRS service",
            version=importlib.metadata.version("drs-service"),
            description="A content-addressed file service with a GA4GH DRS API.",
            components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
            servers=[Server(url=urls.path or "/")],
            openapi_router=Router("/schema", route_handlers=[], before_request=prepare, include_in_schema=False),
            render_plugins=[SchemaPage(urls.path), JsonRenderPlugin(path="/openapi.json")],
        ),
        logging_config=None,
        debug=False,
    )
    leave_out_examples(app)
    paths = [DRS_PATH, *([prefix_1_2 + DRS_PATH] if prefix_1_2 is not None else [])]
    guarded = Guard(cast(ASGIApp, app), visitors, drs_paths=paths)
    spoken = resumable.Speaking(cast(ASGIApp, guarded))
    # The server brings nothing but HTTP.
    return cast(ASGIApp, Tallied(Cors(spoken, origins) if origins else spoken, tally))
