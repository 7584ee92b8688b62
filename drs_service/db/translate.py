"""The border to the database driver: its errors become ours here and nowhere else."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from drs_service.errors import DatabaseRefused, DatabaseUnavailable, DrsServiceError, JoinRefused, Unavailable

# What a violated constraint means to a caller, by its name. A constraint that is not here was our own mistake.
MEANINGS: dict[str, type[DrsServiceError]] = {
    "session_keys_pkey": JoinRefused,
    "sessions_node_id_fkey": Unavailable,  # a node that was taken for dead, and will say otherwise
    "node_calls_to_node_fkey": Unavailable,
}

# What another attempt will not change: somebody has to set something right.
REFUSALS = (
    asyncpg.ClientConfigurationError,
    asyncpg.InvalidAuthorizationSpecificationError,  # also a wrong password, and no line in pg_hba.conf
    asyncpg.InvalidCatalogNameError,
    ssl.SSLCertVerificationError,
)


@contextmanager
def translating() -> Iterator[None]:
    """Around statements. An OSError passes: it is not the driver's, which has errors of its own for lost connections.

    A TimeoutError does not: the driver raises it for a statement that took too long, and nothing tells it from one
    that the block raised itself.
    """
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        if meaning := MEANINGS.get(error.constraint_name or ""):
            raise meaning(constraint=error.constraint_name) from error
        raise
    except REFUSALS as error:
        raise DatabaseRefused(reason=reason(error)) from error
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # the driver loses its own state when a connection ends between two of its steps
        asyncpg.CannotConnectNowError,
        asyncpg.DeadlockDetectedError,
        asyncpg.InsufficientResourcesError,
        asyncpg.LockNotAvailableError,
        asyncpg.OperatorInterventionError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.TransactionRollbackError,  # of two that wait for each other PostgreSQL lets one go on
        TimeoutError,
    ) as error:
        raise DatabaseUnavailable(reason=reason(error)) from error


@contextmanager
def connecting() -> Iterator[None]:
    """Around the making of a connection, where more can go wrong."""
    try:
        with translating():
            yield
    except asyncpg.InsufficientPrivilegeError as error:  # no right to CONNECT; in a statement it is our own mistake
        raise DatabaseRefused(reason=reason(error)) from error
    except OSError as error:
        raise DatabaseUnavailable(reason=reason(error)) from error
    except ValueError as error:  # its text may quote a piece of the password
        raise DatabaseRefused(reason="DATABASE_URL is malformed") from error


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
