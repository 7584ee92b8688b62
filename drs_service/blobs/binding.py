"""What to tell the operator of a place that is not the one the settings take it for."""

from collections.abc import Sequence
from uuid import UUID

from drs_service.blobs.keys import NAMES


def another_database(identity: UUID, found: Sequence[str]) -> str:
    """found: what the place says, if it says anything."""
    owner = f"the storage holds {' and '.join(found)}" if found else "the storage holds blobs and says of no database"
    return (
        f"The storage belongs to another database: this one has the id {identity}, {owner}. Nothing was touched. "
        "Restore the database from its backup, or set DATABASE_URL and DRS_STORAGE_URL to a pair that belongs "
        "together: a sweep would delete every blob that this database does not know."
    )


def another_place(name: str, found: Sequence[str]) -> str:
    """found: what the place says."""
    names = " and ".join(one.removeprefix(NAMES) for one in found)
    return (
        f"The settings call this storage {name}, and it says that it is {names}. Nothing was touched. Set the URLs of "
        f"DRS_STORAGE_URL and DRS_PLACES right: every copy would be missed where it should be. If it is to be {name} "
        f"from now on, and what is in it is what the database knows of {name}, remove {' and '.join(found)} from it."
    )
