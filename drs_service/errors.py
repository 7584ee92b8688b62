"""Everything that can go wrong, in one tree.

DrsServiceError
├── NotFound
│   ├── RouteNotFound
│   ├── BlobNotFound
│   ├── ObjectNotFound
│   ├── ObjectDeleted
│   ├── BytesElsewhere
│   ├── AccessMethodNotFound
│   ├── UploadLost
│   ├── UploadFailed
│   ├── UploadNotFound
│   │   └── UploadExpired
│   ├── SessionNotFound
│   ├── SessionEnded
│   ├── IdentifierUnknown
│   └── JobNotFound
├── Rejected                     the request is wrong as it stands
│   ├── NameInvalid
│   ├── MediaTypeInvalid
│   ├── DigestMalformed
│   ├── DigestMismatch
│   ├── EncodingUnsupported
│   ├── HostUnknown
│   ├── FormInvalid
│   ├── TooMany
│   ├── UploadTooLarge
│   ├── QuotaExceeded
│   ├── UploadInterrupted
│   ├── UploadStalled
│   ├── RangeNotSatisfiable
│   ├── PreconditionFailed
│   ├── DrsUriMalformed
│   ├── ChecksumInvalid
│   ├── ChecksumMismatch
│   ├── ChecksumConflict
│   ├── ChecksumUnknown
│   ├── SizeMismatch
│   ├── AccessMethodInvalid
│   ├── BundleInvalid
│   ├── CandidateInvalid
│   ├── TextInvalid
│   ├── PageInvalid
│   ├── UploadBusy
│   ├── UploadDone
│   ├── OffsetMismatch
│   ├── ChunkMismatch
│   ├── TusInvalid
│   ├── TusVersionUnsupported
│   ├── DraftInvalid
│   ├── PartsInvalid
│   ├── PartsMissing
│   ├── DirectImpossible
│   ├── UploadConflict
│   ├── IdempotencyKeyInvalid
│   ├── IdempotencyKeyReused
│   ├── ArchiveImpossible
│   ├── BytesPutAway
│   ├── NotAcceptable
│   ├── FileChanged
│   ├── FileUnreadable
│   ├── TargetExists
│   ├── JoinRefused
│   ├── RequestLineTooLong
│   ├── HeadersTooLarge
│   └── BodyTooLarge
├── Forbidden
├── Misconfigured                the operator must act
│   ├── SettingsInvalid
│   ├── BindRefused
│   ├── DataDirectoryInUse
│   ├── DirectoryUnreachable
│   ├── AccountUnusable
│   ├── PostgresFailed
│   ├── DatabaseRefused
│   ├── SchemaBehind
│   ├── SchemaAhead
│   ├── MigrationFailed
│   ├── StoreMismatch
│   └── PlaceUnsuitable
├── BlobCorrupt                  the bytes in storage are not those of the digest
├── AppFailed                    the app of a session did not answer as it should
│   ├── TargetUnreachable
│   ├── TargetBroken
│   ├── TargetTimeout
│   └── TunnelLost
└── Unavailable                  try again later
    ├── ObjectPending
    ├── UploadPending
    ├── BytesArchived
    ├── TooMuchThawed
    ├── StorageUnavailable
    ├── StorageFull
    ├── DatabaseUnavailable
    ├── ResolverUnavailable
    ├── TooManyUploads
    ├── TooManyAtOnce
    ├── TooManyRequests
    ├── TooManySessions
    ├── TunnelAbsent
    ├── TooManyStreams
    ├── PeerUnreachable
    ├── JobTakenOver
    ├── JobStalled
    ├── JobAbandoned
    └── JobTooOld

The docstring of a class is its message unless one is given. What HTTP makes of each is `api/errors.py`'s business.
"""

from typing import ClassVar


class DrsServiceError(Exception):
    """Something went wrong inside the service."""

    code: ClassVar[str] = "internal"
    """Stable name of the error: clients and graphs use it."""
    retryable: ClassVar[bool] = False
    """Whether the same request may succeed later. Whoever retries asks this and nothing else."""

    def __init__(self, message: str | None = None, **facts: object) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.facts = facts

    @property
    def in_full(self) -> str:
        """For the operator: the message, and what was seen, which may name paths and hosts."""
        return f"{self} ({self.facts['reason']})" if self.facts.get("reason") else str(self)


class NotFound(DrsServiceError):
    """There is nothing here by that name."""

    code = "not_found"


class RouteNotFound(NotFound):
    """There is nothing at this path."""

    code = "route_not_found"


class BlobNotFound(NotFound):
    """No bytes are kept under this digest."""

    code = "blob_not_found"


class ObjectNotFound(NotFound):
    """There is no object with this id."""

    code = "object_not_found"


class ObjectDeleted(NotFound):
    """The object was deleted."""

    code = "object_deleted"


class BytesElsewhere(NotFound):
    """The bytes of this object are not kept here: its access methods say where they are."""

    code = "bytes_elsewhere"


class AccessMethodNotFound(NotFound):
    """The object has no access method with this access_id."""

    code = "access_method_not_found"


class UploadLost(NotFound):
    """What was sent to this upload is no longer there: begin again."""

    code = "upload_lost"


class UploadFailed(NotFound):
    """The bytes of this upload are not what was stated of them: nothing can become of it."""

    code = "upload_failed"


class UploadNotFound(NotFound):
    """There is no upload with this id, or none any more."""

    code = "upload_not_found"


class UploadExpired(UploadNotFound):
    """This upload has waited too long, and what was sent to it is gone: begin again."""

    code = "upload_expired"


class SessionNotFound(NotFound):
    """There is no session with this id, or the request does not show the secret that opens it."""

    code = "session_not_found"


class SessionEnded(NotFound):
    """The session has ended."""

    code = "session_ended"


class IdentifierUnknown(NotFound):
    """No resolver knows this compact identifier."""

    code = "identifier_unknown"


class JobNotFound(NotFound):
    """No job with this id was given up."""

    code = "job_not_found"


class Rejected(DrsServiceError):
    """The request is wrong as it stands."""

    code = "bad_request"


class NameInvalid(Rejected):
    """The file name cannot be used."""

    code = "name_invalid"


class MediaTypeInvalid(Rejected):
    """The Content-Type is not a media type."""

    code = "media_type_invalid"


class DigestMalformed(Rejected):
    """The Repr-Digest header does not follow RFC 9530."""

    code = "digest_malformed"


class DigestMismatch(Rejected):
    """The bytes received do not have the digest that was stated. Nothing was stored."""

    code = "digest_mismatch"


class EncodingUnsupported(Rejected):
    """Bytes are stored as they come: a Content-Encoding cannot be undone here."""

    code = "encoding_unsupported"


class HostUnknown(Rejected):
    """The request is meant for another host: its Host is neither that of PUBLIC_URL nor a loopback name."""

    code = "host_unknown"


class FormInvalid(Rejected):
    """The form is not multipart/form-data with at least one file."""

    code = "form_invalid"


class TooMany(Rejected):
    """The request asks for more at once than service-info allows."""

    code = "too_many"


class UploadTooLarge(Rejected):
    """The upload is larger than this service accepts. Nothing was stored."""

    code = "upload_too_large"


class QuotaExceeded(Rejected):
    """The owner or the space holds as many bytes as it may. Nothing was stored."""

    code = "quota_exceeded"


class UploadInterrupted(Rejected):
    """The connection ended before the upload did. Nothing was stored."""

    code = "upload_interrupted"


class UploadStalled(Rejected):
    """No bytes arrived for too long. Nothing was stored."""

    code = "upload_stalled"


class RangeNotSatisfiable(Rejected):
    """None of the ranges asked for lies within the bytes, or they are too many."""

    code = "range_not_satisfiable"


class PreconditionFailed(Rejected):
    """The representation does not match the condition of the request."""

    code = "precondition_failed"


class DrsUriMalformed(Rejected):
    """This is not a DRS URI."""

    code = "drs_uri_malformed"


class ChecksumInvalid(Rejected):
    """This is not a checksum."""

    code = "checksum_invalid"


class ChecksumMismatch(Rejected):
    """The checksum stated is not that of the bytes, or not that of the members. Nothing was stored."""

    code = "checksum_mismatch"


class ChecksumConflict(Rejected):
    """The object has another checksum of this type, and a checksum never changes."""

    code = "checksum_conflict"


class ChecksumUnknown(Rejected):
    """A checksum is stated that was not worked out yet, of more bytes than can be read meanwhile. Leave it out."""

    code = "checksum_unknown"


class SizeMismatch(Rejected):
    """The size stated is not that of the bytes, or not that of the members. Nothing was stored."""

    code = "size_mismatch"


class AccessMethodInvalid(Rejected):
    """The access method cannot be used."""

    code = "access_method_invalid"


class BundleInvalid(Rejected):
    """The contents are not those of a bundle."""

    code = "bundle_invalid"


class CandidateInvalid(Rejected):
    """The candidate does not say where its bytes are."""

    code = "candidate_invalid"


class TextInvalid(Rejected):
    """A text is empty, too long, or not printable."""

    code = "text_invalid"


class PageInvalid(Rejected):
    """The page_size or the page_token is not one of this service."""

    code = "page_invalid"


class UploadBusy(Rejected):
    """Another request is sending to this upload and does not let go of it. Try again."""

    code = "upload_busy"
    retryable = True


class UploadDone(Rejected):
    """The upload is complete: nothing can be added to it, and nothing taken back."""

    code = "upload_done"


class OffsetMismatch(Rejected):
    """The Upload-Offset is not where the upload has come to: ask for that with HEAD."""

    code = "offset_mismatch"


class ChunkMismatch(Rejected):
    """The bytes received do not have the checksum stated of them. They were thrown away; the upload is as before."""

    code = "chunk_mismatch"


class TusInvalid(Rejected):
    """The request is not one of tus 1.0.0."""

    code = "tus_invalid"


class TusVersionUnsupported(Rejected):
    """The only version of tus spoken here is 1.0.0: say so with Tus-Resumable."""

    code = "tus_version_unsupported"


class DraftInvalid(Rejected):
    """The request is not one of draft-ietf-httpbis-resumable-upload."""

    code = "draft_invalid"


class PartsInvalid(Rejected):
    """An upload is joined of complete partial uploads, at least one and not too many."""

    code = "parts_invalid"


class PartsMissing(Rejected):
    """Not all parts of the upload have come, or some have another size."""

    code = "parts_missing"


class DirectImpossible(Rejected):
    """This upload cannot be brought to the storage itself."""

    code = "direct_impossible"


class UploadConflict(Rejected):
    """The bytes of this upload have come already."""

    code = "upload_conflict"


class IdempotencyKeyInvalid(Rejected):
    """The Idempotency-Key is not a text of 1 to 255 visible characters."""

    code = "idempotency_key_invalid"


class IdempotencyKeyReused(Rejected):
    """The Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"


class ArchiveImpossible(Rejected):
    """The bundle cannot be sent as an archive: not all of its members are here."""

    code = "archive_impossible"


class BytesPutAway(Rejected):
    """The bytes of this object lie in an archive, and reading does not bring them back here."""

    code = "bytes_put_away"


class NotAcceptable(Rejected):
    """A bundle is sent as a zip or as a tar archive, and the request asks for neither."""

    code = "not_acceptable"


class FileChanged(Rejected):
    """The file changed while it was read."""

    code = "file_changed"


class FileUnreadable(Rejected):
    """The file cannot be read."""

    code = "file_unreadable"


class TargetExists(Rejected):
    """Something else is where the file would go."""

    code = "target_exists"


class JoinRefused(Rejected):
    """This is neither the credential of a session's agent nor a join token that is still good."""

    code = "join_refused"


class RequestLineTooLong(Rejected):
    """The path and the query of the request are too long."""

    code = "request_line_too_long"


class HeadersTooLarge(Rejected):
    """The fields of the request are too large."""

    code = "headers_too_large"


class BodyTooLarge(Rejected):
    """The body of the request is larger than a session takes."""

    code = "body_too_large"


class Forbidden(DrsServiceError):
    """You may not do this."""

    code = "forbidden"


class Misconfigured(DrsServiceError):
    """The service cannot run as it is set up."""

    code = "misconfigured"


class SettingsInvalid(Misconfigured):
    """The settings are not usable."""

    code = "settings_invalid"


class BindRefused(Misconfigured):
    """The service does not listen on this address."""

    code = "bind_refused"


class DataDirectoryInUse(Misconfigured):
    """Another service is running on this data directory."""

    code = "data_directory_in_use"


class DirectoryUnreachable(Misconfigured):
    """The account that PostgreSQL runs as cannot use this directory."""

    code = "directory_unreachable"


class AccountUnusable(Misconfigured):
    """PostgreSQL cannot run as this account."""

    code = "account_unusable"


class PostgresFailed(Misconfigured):
    """The embedded PostgreSQL does not run."""

    code = "postgres_failed"


class DatabaseRefused(Misconfigured):
    """The database does not let the service in."""

    code = "database_refused"


class SchemaBehind(Misconfigured):
    """The database schema is older than this service. Run: drs-service migrate"""

    code = "schema_behind"


class SchemaAhead(Misconfigured):
    """The database schema is newer than this service. Run: pip install --upgrade drs-service"""

    code = "schema_ahead"


class MigrationFailed(Misconfigured):
    """The migrations could not be applied."""

    code = "migration_failed"


class StoreMismatch(Misconfigured):
    """The storage belongs to another database, or is another place than the settings say."""

    code = "store_mismatch"


class PlaceUnsuitable(Misconfigured):
    """This cannot be done with this place."""

    code = "place_unsuitable"


class BlobCorrupt(DrsServiceError):
    """The stored bytes are not those of their digest."""

    code = "blob_corrupt"


class AppFailed(DrsServiceError):
    """The app of the session did not answer as it should."""

    code = "app_failed"
    retryable = True


class TargetUnreachable(AppFailed):
    """The agent of the session is there, but nothing listens where its app should be."""

    code = "target_unreachable"


class TargetBroken(AppFailed):
    """The app of the session broke off, or sent something else than HTTP."""

    code = "target_broken"


class TargetTimeout(AppFailed):
    """The app of the session did not answer in time."""

    code = "target_timeout"


class TunnelLost(AppFailed):
    """The connection to the session's agent ended before the answer came. What became of the request is not known."""

    code = "tunnel_lost"


class Unavailable(DrsServiceError):
    """The service cannot answer this now. Try again later."""

    code = "unavailable"
    retryable = True


class ObjectPending(Unavailable):
    """The bytes of this object are still being verified. Try again later."""

    code = "object_pending"


class UploadPending(Unavailable):
    """All bytes of the upload have come, and are still being verified. Try again later."""

    code = "upload_pending"


class BytesArchived(Unavailable):
    """The bytes of this object lie in an archive, and are being brought back. Try again later."""

    code = "bytes_archived"


class TooMuchThawed(Unavailable):
    """As many bytes have been brought back from archives as may be in a day. Try again later."""

    code = "too_much_thawed"


class StorageUnavailable(Unavailable):
    """The storage does not answer. Try again later."""

    code = "storage_unavailable"


class StorageFull(Unavailable):
    """There is no room left in the storage. Nothing was stored."""

    code = "storage_full"


class DatabaseUnavailable(Unavailable):
    """The database does not answer. Try again later."""

    code = "database_unavailable"


class ResolverUnavailable(Unavailable):
    """The resolver of compact identifiers does not answer. Try again later."""

    code = "resolver_unavailable"


class TooManyUploads(Unavailable):
    """The owner has as many unfinished uploads as there may be. Finish or delete some of them first."""

    code = "too_many_uploads"


class TooManyAtOnce(Unavailable):
    """As many uploads are being received as there is room for. Try again later."""

    code = "too_many_at_once"


class TooManyRequests(Unavailable):
    """The owner has sent as many upload requests as are taken in a minute. Try again later."""

    code = "too_many_requests"


class TooManySessions(Unavailable):
    """The owner has as many sessions as there may be. Stop some of them first."""

    code = "too_many_sessions"


class TunnelAbsent(Unavailable):
    """The agent of the session is not connected at the moment."""

    code = "tunnel_absent"


class TooManyStreams(Unavailable):
    """As many requests are under way in the session as it takes."""

    code = "too_many_streams"


class PeerUnreachable(Unavailable):
    """Another node of the service does not answer."""

    code = "peer_unreachable"


class JobTakenOver(Unavailable):
    """Another worker has the job by now."""

    code = "job_taken_over"


class JobStalled(Unavailable):
    """The job did not get on for too long."""

    code = "job_stalled"


class JobAbandoned(Unavailable):
    """Every worker that took the job fell silent."""

    code = "job_abandoned"


class JobTooOld(Unavailable):
    """The job was not done in time."""

    code = "job_too_old"
