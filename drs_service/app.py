"""The composition root of a web process: builds every part and hands it over."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import cast

import uvicorn
from litestar.types import ASGIApp
from prometheus_client import CollectorRegistry, ProcessCollector

from drs_service.allocating import keep_freed
from drs_service.api import face
from drs_service.api.answers import Json
from drs_service.api.drs import service_info
from drs_service.api.drs.rendering import face_of
from drs_service.api.guard import Visitors
from drs_service.api.metrics.exposition import Exposition
from drs_service.api.metrics.sharing import Sharing
from drs_service.api.metrics.tally import Tally
from drs_service.api.public import PublicUrls
from drs_service.api.server import Protocol
from drs_service.blobs.store import BlobStore
from drs_service.db import changes
from drs_service.db.pool import Database
from drs_service.domain.limits import Limits
from drs_service.domain.places import parse_shown
from drs_service.gateway.gateway import Bounds, Gateway, open_gateway
from drs_service.parts import check_schema, check_store, open_parts, open_places, thaw
from drs_service.settings import Settings
from drs_service.usecases.announcing import Announcing
from drs_service.usecases.archives import Archives
from drs_service.usecases.bells import Bells
from drs_service.usecases.bundles import Bundles
from drs_service.usecases.changing import Changing
from drs_service.usecases.checksumming import Checksumming
from drs_service.usecases.directing import Directing
from drs_service.usecases.downloads import Downloads
from drs_service.usecases.finding import Finding
from drs_service.usecases.finishing import Finishing
from drs_service.usecases.health import Health
from drs_service.usecases.holding import Holding
from drs_service.usecases.jobs import Jobs
from drs_service.usecases.limiting import Limiting
from drs_service.usecases.objects import Objects
from drs_service.usecases.observing import Observing
from drs_service.usecases.places import Places
from drs_service.usecases.reading import Reading
from drs_service.usecases.registering import Registering
from drs_service.usecases.resuming import Resuming
from drs_service.usecases.sessions import Sessions, Terms
from drs_service.usecases.signing import Signing
from drs_service.usecases.statistics import Statistics
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.tunnels import Tunnels
from drs_service.usecases.turns import Turns
from drs_service.usecases.underway import UploadsUnderway
from drs_service.usecases.uploads import Uploads

ALONE = Sharing(None, 1)


@dataclass(frozen=True, slots=True)
class Web:
    """What answers requests."""

    app: ASGIApp
    gateway: Gateway
    """Those that are for sessions."""


@asynccontextmanager
async def open_app(settings: Settings, sharing: Sharing = ALONE) -> AsyncIterator[Web]:
    """The web application, with everything it stands on open for the length of the block."""
    async with (
        open_parts(settings, name="drs-service web") as (database, store),
        open_app_on(database, store, settings, sharing) as web,
    ):
        yield web


@asynccontextmanager
async def open_app_on(
    database: Database, store: BlobStore, settings: Settings, sharing: Sharing = ALONE
) -> AsyncIterator[Web]:
    """The web application on a database and a store that are open for longer than the block."""
    assert settings.database_url is not None and settings.public_url is not None
    await check_schema(database)
    await check_store(database, store)
    async with open_places(settings, database, store) as places:
        await places.check_others()
        async with open_face(database, places, settings, sharing) as web:
            yield web


@asynccontextmanager
async def open_face(database: Database, places: Places, settings: Settings, sharing: Sharing) -> AsyncIterator[Web]:
    """The web application on what has been looked at."""
    assert settings.database_url is not None and settings.public_url is not None
    urls = PublicUrls(
        settings.public_url,
        buckets=parse_shown(settings.shown_places, settings.place_urls),
        signed=settings.signed_places,
    )
    objects: Objects[Json] = Objects(database, face=partial(face_of, urls=urls), keep=settings.object_cache_size)
    turns = Turns(database)
    tally, registry = Tally(), CollectorRegistry()
    ProcessCollector(registry=registry)
    exposition = Exposition(tally, Observing(database, places.names), sharing, registry)
    reading = Reading(
        database, places, alerts=settings.alert_webhook is not None, how=thaw(settings), thaws=settings.thaw
    )
    bells = Bells()
    visitors = Visitors(hostname=urls.hostname, origins=settings.cors_origins)
    async with (
        gateway_on(database, visitors, tally, settings) as gateway,
        hearing(settings, changes.Together(objects.changes, turns, bells, gateway), turns),
        sharing.writing(exposition.snapshot),
        contextlib.AsyncExitStack() as stack,
    ):
        stack.push_async_callback(reading.close)
        app = face.build(
            usecases_on(database, places, reading, objects, turns, bells, settings),
            urls,
            service_info.Identity(
                id=settings.service_id,
                name=settings.service_name,
                organization_name=settings.organization_name,
                organization_url=settings.organization_url,
            ),
            service_info.Reach(
                max_bulk=settings.max_bulk_request_length,
                max_upload_bytes=settings.max_upload_bytes,
                verify_external=settings.verify_external,
            ),
            upload_idle=settings.upload_idle_seconds,
            upload_lifetime=settings.upload_lifetime_seconds,
            max_form_files=settings.max_form_files,
            visitors=visitors,
            origins=settings.cors_origins,
            prefix_1_2=settings.drs_1_2_prefix,
            tally=tally,
            exposition=exposition,
        )
        yield Web(app, gateway)


def gateway_on(
    database: Database, visitors: Visitors, tally: Tally, settings: Settings
) -> AbstractAsyncContextManager[Gateway]:
    assert settings.public_url is not None
    return open_gateway(
        Tunnels(database, lost=timedelta(seconds=settings.session_lost_seconds)),
        visitors,
        tally,
        Bounds(
            answer_seconds=settings.session_answer_seconds,
            idle_seconds=settings.session_silence_seconds,
            grace_seconds=settings.session_grace_seconds,
            max_body=settings.session_max_body_bytes,
        ),
        public_url=settings.public_url,
        host=settings.node_host,
        port=settings.node_port,
        address=settings.node_address,
    )


@asynccontextmanager
async def hearing(settings: Settings, listener: changes.Listener, turns: Turns) -> AsyncIterator[None]:
    """Keep listener informed for the length of the block."""
    assert settings.database_url is not None
    listening = asyncio.create_task(changes.listen(settings.database_url.reveal(), listener, new_node=turns.new_node))
    try:
        yield
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


def usecases_on(
    database: Database,
    places: Places,
    reading: Reading,
    objects: Objects[Json],
    turns: Turns,
    bells: Bells,
    settings: Settings,
) -> face.UseCases:
    """What the service can do, for its HTTP face."""
    store = places.primary
    checksums, lifetime = settings.checksums, timedelta(seconds=settings.upload_lifetime_seconds)
    sweep, limiting = Sweep(database, store, places), Limiting(database, limits(settings))
    bundles, downloads = Bundles(database), Downloads(reading)
    checksumming = Checksumming(database, store, checksums, reading)
    registering = Registering(
        database,
        checksumming,
        max_entries=settings.max_bundle_entries,
        verify_external=settings.verify_external,
        limiting=limiting,
    )
    holding = Holding(database, store, turns, lifetime=lifetime)
    finishing = Finishing(
        database, store, holding, lifetime=lifetime, checksums=checksums, at_once=settings.finish_at_once_bytes
    )
    place = store.direct if settings.direct_uploads else None
    return face.UseCases(
        objects=objects,
        downloads=downloads,
        archives=Archives(bundles, downloads),
        signing=Signing(
            places,
            reading,
            settings.signed_places,
            valid=timedelta(seconds=settings.signed_seconds),
            redirects=settings.signed_downloads,
        ),
        uploads=Uploads(database, store, sweep, limiting=limiting, checksums=checksums),
        bundles=bundles,
        finding=Finding(database),
        registering=registering,
        changing=Changing(database, sweep, objects.changes, checksumming, verify_external=settings.verify_external),
        announcing=Announcing(database, store, sweep, lifetime=lifetime, limiting=limiting, checksums=checksums),
        resuming=Resuming(
            database, store, registering, holding, finishing, turns, lifetime=lifetime, limiting=limiting
        ),
        directing=Directing(database, place, holding, finishing, limiting, lifetime=lifetime) if place else None,
        underway=UploadsUnderway(database),
        jobs=Jobs(database),
        sessions=Sessions(database, bells, terms(settings)),
        statistics=Statistics(database),
        health=Health(database, store, places),
    )


def limits(settings: Settings) -> Limits:
    return Limits(
        bytes_of_owner=settings.owner_quota_bytes,
        bytes_of_space=settings.space_quota_bytes,
        unfinished_uploads=settings.max_unfinished_uploads,
        uploads_at_once=settings.max_uploads_at_once,
        requests_per_minute=settings.upload_requests_per_minute,
        bytes_per_second=settings.upload_bytes_per_second,
    )


def terms(settings: Settings) -> Terms:
    return Terms(
        longest=timedelta(seconds=settings.session_max_seconds),
        idle=timedelta(seconds=settings.session_idle_seconds),
        join=timedelta(seconds=settings.session_join_seconds),
        most=settings.max_sessions,
    )


async def serve(
    settings: Settings, listener: socket.socket, sharing: Sharing = ALONE, *, on_ready: Callable[[], None]
) -> None:
    """Answer requests on listener until SIGTERM or SIGINT; those in flight are finished first."""
    keep_freed()
    async with open_app(settings, sharing) as web:
        # uvicorn raises the signal that stopped it once more at the end: let what is open here be closed first.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        # What is there by now stays: the collector need not look at it again, nor as often as for a small program.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        await Server(web, settings, on_ready).serve(sockets=[listener])


def configured(web: Web, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves the application."""
    return uvicorn.Config(
        web.app,
        http=cast(type[asyncio.Protocol], partial(Protocol, elsewhere=web.gateway)),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,  # beyond the 60 s for which proxies commonly keep their connections
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
    )


class Server(uvicorn.Server):
    """uvicorn's server, saying when it listens, and letting go of sessions before it ends."""

    def __init__(self, web: Web, settings: Settings, on_ready: Callable[[], None]) -> None:
        super().__init__(configured(web, settings))
        self._gateway = web.gateway
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._gateway.hand_over()
        await super().shutdown(sockets)
