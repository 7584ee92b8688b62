"""What workers do by and by, done at once."""

from datetime import UTC, datetime, timedelta

from drs_service.blobs.local import LocalDriver
from drs_service.blobs.store import BlobStore
from drs_service.db.pool import open_database
from drs_service.settings import Settings
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.tidying import Tidying
from tests.api.traces import query, store


async def tidy_up(settings: Settings) -> None:
    """Let the time of all uploads be over, and forget whatever nobody knows: all but what was kept goes."""
    await query(settings, "UPDATE uploads SET expires_at = now()")
    assert settings.database_url is not None
    async with open_database(settings.database_url.reveal(), name="test", size=2, statement_cache=0) as database:
        blobs = BlobStore(LocalDriver(store(settings)), place="primary", max_bytes=1)
        try:
            await Tidying(database, blobs).run()
            await Sweep(database, blobs).run(before=datetime.now(UTC) + timedelta(hours=1))
        finally:
            await blobs.close()
