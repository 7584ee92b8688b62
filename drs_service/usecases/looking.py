"""Looking an upload up by its id."""

from drs_service.db import uploads
from drs_service.db.pool import Database
from drs_service.domain.uploads import Upload, is_upload_id
from drs_service.errors import UploadExpired, UploadNotFound


async def upload_of(database: Database, upload_id: str) -> Upload:
    """The upload as it is now. UploadNotFound, UploadExpired."""
    if not is_upload_id(upload_id):
        raise UploadNotFound
    async with database.connection() as connection:
        upload = (await uploads.select(connection, [upload_id])).get(upload_id)
        if upload is None and await uploads.has_expired(connection, upload_id):
            raise UploadExpired
    if upload is None:
        raise UploadNotFound
    return upload
