"""Bytes in archives are brought back for whoever asks: by a job for each copy, or by somebody else."""

from collections.abc import Callable, Collection, Mapping, Sequence

from drs_service.blobs.external import PUT_AWAY
from drs_service.blobs.store import BlobStore
from drs_service.db.pool import Database
from drs_service.domain.digest import Digest
from drs_service.domain.thawing import Thaw
from drs_service.errors import BlobNotFound, BytesArchived, BytesPutAway
from drs_service.jobs.kinds import ThawBlob, enqueue_each_once
from drs_service.usecases.affording import affordable
from drs_service.usecases.looking_again import LookingAgain
from drs_service.usecases.places import Places


class BringingBack:
    def __init__(
        self,
        database: Database,
        places: Places,
        how: Thaw,
        *,
        thaws: bool,
        patient: bool,
        on_loss: Callable[[Digest, BlobStore], None],
    ) -> None:
        """As of `Reading`. on_loss is told of a copy that is not there."""
        self._database = database
        self._places = places
        self._how = how
        self._thaws = thaws
        self._patient = patient
        self._on_loss = on_loss
        self._looking = LookingAgain(database, places.patience)

    def note(self, digest: Digest, store: BlobStore) -> None:
        """A copy has just been seen to lie in an archive."""
        self._looking.note(digest, store.place)

    async def bring(self, put_away: Mapping[Digest, Collection[str]], *, begin: bool = True) -> set[str]:
        """Where these can be read by now, of the places that have them, if that goes for all of them.

        BytesArchived otherwise: one job for a copy brings it back for all who ask, or for some of them that the day
        has room for. TooMuchThawed if it has for none. BytesPutAway if there are any of which we may not.
        """
        wanted: dict[str, ThawBlob] = {}
        back: set[str] = set()
        for digest, names in put_away.items():
            stores = self._places.in_order(names)
            ours = [store for store in stores if store.thaws and self._thaws]
            if ours:
                wanted[f"thaw_blob {digest.hex} {ours[0].place}"] = ThawBlob(digest.hex, ours[0].place)
            elif stores:
                back |= await self._back_by_hand(digest, stores)
        if not wanted:
            return back
        async with self._database.transaction() as connection:
            jobs = await affordable(connection, wanted, most=self._how.daily, patient=self._patient)
            if begin:
                await enqueue_each_once(connection, jobs)
        raise BytesArchived(retry_after=self._how.retry_after)

    async def _back_by_hand(self, digest: Digest, stores: Sequence[BlobStore]) -> set[str]:
        """BytesPutAway if there are none."""
        for store in stores:
            try:
                if await self._looking.is_back(digest, store):
                    return {store.place}
            except BlobNotFound:
                self._on_loss(digest, store)
        raise BytesPutAway(None if any(store.thaws for store in stores) else PUT_AWAY)
