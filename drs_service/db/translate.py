"""The border to the database driver: its errors become ours here and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from drs_service.errors import DatabaseUnavailable, DrsServiceError

# What a violated constraint means to a caller, by its name. A constraint that is not here was our own mistake.
MEANINGS: dict[str, type[DrsServiceError]] = {}


@contextmanager
def translating() -> Iterator[None]:
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        if meaning := MEANINGS.get(error.constraint_name or ""):
            raise meaning(constraint=error.constraint_name) from error
        raise
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.CannotConnectNowError,
        asyncpg.InsufficientResourcesError,
        asyncpg.OperatorInterventionError,
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.ReadOnlySQLTransactionError,
        OSError,
        TimeoutError,
    ) as error:
        raise DatabaseUnavailable(reason=f"{type(error).__name__}: {error}") from error
