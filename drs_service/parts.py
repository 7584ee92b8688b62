"""What every process of the service stands on, whichever it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from drs_service.blobs.access import Access, AzureAccess, FsspecAccess, GcsAccess, S3Access, parsed_connection_string
from drs_service.blobs.external import ExternalFile
from drs_service.blobs.keys import IDENTITIES
from drs_service.blobs.opening import open_external, open_files, open_store
from drs_service.blobs.store import BlobStore
from drs_service.db import embedded, external, identity, schema
from drs_service.db.pool import Database, open_database
from drs_service.domain.digest import Digest
from drs_service.domain.places import PlaceSaid, parse_secrets
from drs_service.domain.replication import parse_rules
from drs_service.domain.thawing import Thaw, Tier
from drs_service.errors import SettingsInvalid
from drs_service.outgoing.http import open_http
from drs_service.settings import Secret, Settings
from drs_service.usecases.draining import Draining
from drs_service.usecases.enlisting import Enlisting, find_source
from drs_service.usecases.health import Finding, Health
from drs_service.usecases.jobs import Jobs
from drs_service.usecases.overseeing import Overseeing
from drs_service.usecases.placekeeping import Placekeeping, PlaceStatus
from drs_service.usecases.places import Places
from drs_service.usecases.reading import Reading
from drs_service.usecases.replicating import Replicating
from drs_service.usecases.resolving import IdentifiersOrg, N2t, Resolver


@asynccontextmanager
async def open_parts(settings: Settings, *, name: str) -> AsyncIterator[tuple[Database, BlobStore]]:
    """The database and the store of the settings, open for the length of the block; name is shown in Postgres.

    SettingsInvalid, DatabaseUnavailable.
    """
    if settings.database_url is None or settings.storage_url is None:
        raise SettingsInvalid("DATABASE_URL and DRS_STORAGE_URL are not set; `drs-service serve` brings its own")
    store = open_store(
        settings.primary.url,
        max_bytes=settings.max_upload_bytes,
        access=access_of(settings.primary, settings),
        place=settings.storage_name,
        replicas=parse_rules(settings.replicas),
    )
    try:
        async with open_database(
            settings.database_url.reveal(),
            name=name,
            size=settings.database_pool_size,
            statement_cache=settings.database_statement_cache,
        ) as database:
            yield database, store
    finally:
        await store.close()


def beside(settings: Settings) -> Settings:
    """The settings, and where they say nothing, the database and the store of the service that runs on the data
    directory. SettingsInvalid.
    """
    database_url = Secret(database_beside(settings))
    own_store = settings.data_dir.absolute() / "store"
    # There is a directory also where the bytes are kept elsewhere: it has no identity, and would be given one.
    if settings.storage_url is None and not any(own_store.glob(f"{IDENTITIES}*")):
        raise SettingsInvalid(f"DRS_STORAGE_URL is not set, and no service keeps its bytes in {settings.data_dir}")
    return replace(settings, database_url=database_url, storage_url=settings.storage_url or own_store.as_uri())


def database_beside(settings: Settings) -> str:
    """The URL of the database. SettingsInvalid."""
    if settings.database_url is not None:
        return settings.database_url.reveal()
    url = embedded.url_beside(settings.data_dir / "postgres")
    if url is None:
        raise SettingsInvalid(f"DATABASE_URL is not set, and no service runs on {settings.data_dir}")
    return url


def access(settings: Settings) -> Access:
    return Access(
        s3=S3Access(
            endpoint_url=settings.s3_endpoint_url,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key_id,
            secret_access_key=revealed(settings.s3_secret_access_key),
        ),
        azure=azure_access(settings),
        gcs=GcsAccess(endpoint_url=settings.gcs_endpoint_url, credentials_file=settings.gcs_credentials_file),
    )


def azure_access(settings: Settings) -> AzureAccess:
    if settings.azure_connection_string is not None:
        return parsed_connection_string(settings.azure_connection_string.reveal())
    return AzureAccess(
        account=settings.azure_account,
        account_key=revealed(settings.azure_account_key),
        endpoint_url=settings.azure_endpoint_url,
    )


def revealed(secret: Secret | None) -> str | None:
    return secret.reveal() if secret is not None else None


@asynccontextmanager
async def open_places(settings: Settings, database: Database, store: BlobStore) -> AsyncIterator[Places]:
    """All places of the settings, for the length of the block; the store is the primary, and stays open."""
    others = [open_place(one, settings, database) for one in settings.other_places]
    places = Places(database, store, others, patience=settings.place_seconds)
    try:
        yield places
    finally:
        await places.close_others()


def open_place(place: PlaceSaid, settings: Settings, database: Database) -> BlobStore:
    access = access_of(place, settings)
    if place.external:
        return open_external(place.url, partial(located, database, place.name), place=place.name, access=access)
    return open_store(place.url, max_bytes=settings.max_upload_bytes, access=access, place=place.name)


async def located(database: Database, place: str, digest: Digest) -> ExternalFile | None:
    """The file in an external place that has these bytes."""
    async with database.connection() as connection:
        found = await external.locate(connection, digest, place)
    return ExternalFile(found.path, found.size, found.stamp) if found is not None else None


def access_of(place: PlaceSaid, settings: Settings) -> Access:
    """How a place is reached: as it says, and otherwise as the settings say it of all."""
    general, options = access(settings), place.options
    secrets = parse_secrets(settings.place_secrets.reveal()) if settings.place_secrets is not None else {}
    if place.foreign:
        protocols = frozenset(settings.fsspec_protocols)
        return Access(fsspec=FsspecAccess(protocols=protocols, options=options, secret=secrets.get(place.name)))
    s3 = replace(
        general.s3,
        endpoint_url=options.get("endpoint_url", general.s3.endpoint_url),
        region=options.get("region", general.s3.region),
    )
    if "access_key_id" in options:
        s3 = replace(s3, access_key_id=options["access_key_id"], secret_access_key=secrets[place.name])
    return replace(general, s3=s3)


def thaw(settings: Settings) -> Thaw:
    """How archived copies are brought back."""
    return Thaw(tier=Tier(settings.thaw_tier), days=settings.thaw_days, daily=settings.thaw_daily_bytes)


@asynccontextmanager
async def open_jobs(settings: Settings) -> AsyncIterator[Jobs]:
    """The jobs of the service. SettingsInvalid."""
    async with open_beside(settings, name="drs-service jobs") as database:
        yield Jobs(database)


@asynccontextmanager
async def open_overseeing(settings: Settings) -> AsyncIterator[Overseeing]:
    """The sessions of the service. SettingsInvalid."""
    async with open_beside(settings, name="drs-service sessions") as database:
        yield Overseeing(database)


@asynccontextmanager
async def open_beside(settings: Settings, *, name: str) -> AsyncIterator[Database]:
    """The database at DATABASE_URL, or of the service that runs on the data directory. SettingsInvalid."""
    url, cache = database_beside(settings), settings.database_statement_cache
    async with open_database(url, name=name, size=2, statement_cache=cache) as database:
        await check_schema(database)
        yield database


@asynccontextmanager
async def open_enlisting(settings: Settings, source: str) -> AsyncIterator[tuple[Enlisting, str]]:
    """Who finds the files at a source, and its path in its place. PlaceUnsuitable, SettingsInvalid."""
    url = source_url(source)
    said = settings.other_places
    own = [one.url for one in said if not one.external]
    own += [url for url in (settings.storage_url, settings.data_dir.absolute().as_uri()) if url is not None]
    place, below = find_source(url, [(one, resolved(one.url)) for one in said if one.external], map(resolved, own))
    files = open_files(place.url, access_of(place, settings))
    try:
        async with open_beside(settings, name="drs-service adopt") as database:
            yield Enlisting(database, place.name, files), below
    finally:
        await files.close()


def source_url(source: str) -> str:
    """Of a path, or of a URL as it is."""
    return resolved(source if "://" in source else Path(source).absolute().as_uri())


def resolved(url: str) -> str:
    """The same; of a directory without links."""
    if not url.startswith("file:"):
        return url
    return Path(unquote(urlsplit(url).path, errors="surrogateescape")).resolve().as_uri()


@asynccontextmanager
async def open_resolver(settings: Settings) -> AsyncIterator[Resolver]:
    """The resolver of DRS URIs, with the registries of the settings."""
    async with open_http(timeout_seconds=settings.resolver_timeout_seconds) as http:
        yield Resolver([IdentifiersOrg(http, settings.identifiers_org_url), N2t(http, settings.n2t_url)])


async def check_schema(database: Database) -> None:
    """SchemaBehind or SchemaAhead if the database is not for this code."""
    async with database.connection() as connection:
        await schema.check(connection)


async def check_store(database: Database, store: BlobStore) -> None:
    """StoreMismatch if the blobs are not those of the database; a store without blobs becomes the database's own."""
    async with database.connection() as connection:
        ours = await identity.identity(connection)
    await store.bind(ours)


async def examine(settings: Settings) -> list[Finding]:
    """What is wrong with the parts, each looked at on its own. SettingsInvalid."""
    async with (
        open_parts(settings, name="drs-service check") as (database, store),
        open_places(settings, database, store) as places,
    ):
        return await Health(database, store, places).examine()


async def places_status(settings: Settings) -> list[PlaceStatus]:
    """How it stands with the places. SettingsInvalid, SchemaBehind, SchemaAhead, DatabaseUnavailable."""
    async with open_all(settings, name="drs-service places") as (database, places):
        return await Placekeeping(database, places, parse_rules(settings.replicas)).status()


async def add_place(settings: Settings, name: str) -> PlaceStatus:
    """Take a place of the settings into use. PlaceUnsuitable, StoreMismatch, StorageUnavailable, and the same."""
    async with open_all(settings, name="drs-service places") as (database, places):
        return await Placekeeping(database, places, parse_rules(settings.replicas)).add(name)


async def drain(settings: Settings, name: str, *, undo: bool) -> None:
    """Have a place emptied, or not any more. PlaceUnsuitable, and the same."""
    async with open_all(settings, name="drs-service places") as (database, places):
        reading = Reading(database, places)
        draining = Draining(database, places, reading, Replicating(database, places, reading))
        await (draining.end(name) if undo else draining.begin(name))


@asynccontextmanager
async def open_all(settings: Settings, *, name: str) -> AsyncIterator[tuple[Database, Places]]:
    """The database, with our schema, and all places."""
    async with (
        open_parts(settings, name=name) as (database, store),
        open_places(settings, database, store) as places,
    ):
        await check_schema(database)
        yield database, places
