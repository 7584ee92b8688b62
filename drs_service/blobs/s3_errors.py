"""What becomes of the errors of S3."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientError as ConnectionFailed
from botocore.exceptions import BotoCoreError, ClientError

from drs_service.errors import StorageFull, StorageUnavailable

# Codes of S3, and the status where an answer has no body to say one in.
MISSING = {"NoSuchKey"}
WRITING = {"put_object", "upload_part"}
MISSING_MULTIPART = {"NoSuchUpload"}
PRECONDITION = {"PreconditionFailed", "412"}
CONFLICT = {"ConditionalRequestConflict"}
UNSATISFIABLE = {"InvalidRange", "416"}
IN_ARCHIVE = {"InvalidObjectState"}
RESTORING = {"RestoreAlreadyInProgress"}
NO_HASTE = {"GlacierExpeditedRetrievalNotAvailable"}
SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
FULL = {"QuotaExceeded", "InsufficientStorage", "EntityTooLarge", "507"}


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Every error of the S3 client as one of ours: `code_of` tells what S3 said."""
    try:
        yield
    except ClientError as error:
        code = code_said(error)
        if code in FULL:
            raise StorageFull(reason=str(error)) from error
        is_ours = error.response["ResponseMetadata"]["HTTPStatusCode"] // 100 == 4
        message = f"The storage refuses what it is asked: {code}." if is_ours else None
        if code in SKEWED:
            message = (
                f"The storage refuses what it is asked: the clock of this machine is not that of the storage ({code})."
            )
        raise StorageUnavailable(message, reason=str(error), refused=is_ours) from error
    except (BotoCoreError, ConnectionFailed, TimeoutError, OSError) as error:
        raise StorageUnavailable(reason=str(error) or type(error).__name__) from error


def code_of(error: StorageUnavailable) -> str:
    """What S3 said; nothing if it did not come to that."""
    return code_said(error.__cause__) if isinstance(error.__cause__, ClientError) else ""


def code_said(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing(method: str, code: str) -> bool:
    """Whether an answer says that the object is not there.

    Only one to HEAD has no body to say so in: any other bare 404 comes from something in front of the store. And what
    is being written need not be there.
    """
    return method not in WRITING and (code in MISSING or (code == "404" and method == "head_object"))


def is_final(method: str, code: str) -> bool:
    """Whether botocore would hear the same words, however often it asked."""
    return is_missing(method, code) or code in PRECONDITION | CONFLICT | IN_ARCHIVE


def said_as(method: str, status: int, code: str) -> ClientError:
    """What botocore raises for such an answer."""
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, method)
