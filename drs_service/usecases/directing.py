"""Bytes that go past us: their sender brings them to the place itself, part by part, under URLs that we sign.

Whoever says that all parts have come is believed nothing: what the place has is counted, and a worker reads and hashes
it, and holds it to what was stated, before anybody else may. Nothing can be changed any more by then, for the parts
have become one object to which no signature leads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from drs_service.blobs.driver import Direct
from drs_service.db import uploads
from drs_service.db.pool import Database
from drs_service.domain.cuts import Cut
from drs_service.domain.ranges import ByteRange
from drs_service.domain.uploads import Mark, Upload
from drs_service.errors import DirectImpossible, PartsMissing, TooMany, UploadDone, UploadNotFound
from drs_service.usecases.finishing import Finishing
from drs_service.usecases.holding import Holding
from drs_service.usecases.limiting import Limiting

MOST_URLS = 1000  # signed at once
VALID = timedelta(hours=1)
SHOWN = 20  # numbers of missing parts in an error


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to bring one part."""

    number: int
    size: int
    url: str


@dataclass(frozen=True, slots=True)
class Tickets:
    cut: Cut
    expires_at: datetime
    tickets: Sequence[Ticket]


class Directing:
    def __init__(
        self,
        database: Database,
        place: Direct,
        holding: Holding,
        finishing: Finishing,
        limiting: Limiting,
        *,
        lifetime: timedelta,
        valid: timedelta = VALID,
    ) -> None:
        """valid: how long a signed URL can be used."""
        self._database = database
        self._place = place
        self._holding = holding
        self._finishing = finishing
        self._limiting = limiting
        self._lifetime = lifetime
        self._valid = valid

    async def tickets(self, upload_id: str, numbers: Sequence[int]) -> Tickets:
        """URLs for these parts. A part that is brought twice is what was brought last.

        UploadNotFound, UploadFailed, UploadDone, DirectImpossible, TooMany, QuotaExceeded, StorageUnavailable.
        """
        upload = await self._holding.find(upload_id)
        cut = cut_of(upload)
        if len(numbers) > MOST_URLS:
            raise TooMany(f"At most {MOST_URLS} parts can be asked for at once.")
        if not all(1 <= number <= cut.count for number in numbers):
            raise DirectImpossible(f"The parts of this upload have the numbers 1 to {cut.count}.")
        await self._limiting.room(upload.owner, upload.space, size=cut.size, already=upload.staged)
        handle, parts = await self._begun(upload, [cut.span_of(number) for number in numbers])
        expires_at = datetime.now(UTC) + self._valid
        tickets = []
        for number in numbers:
            size = cut.size_of(number)
            url = await self._place.presign_part(handle, parts, number, size=size, valid=self._valid)
            tickets.append(Ticket(number, size, url))
        return Tickets(cut, expires_at, tickets)

    async def _begun(self, upload: Upload, spans: Sequence[ByteRange]) -> tuple[str, str]:
        assert upload.handle is not None, "what has a cut has a handle"
        begun = upload.direct or await self._place.begin_parts(upload.handle)
        # Nobody tells us when they come: from now on they count as if they had.
        async with self._database.connection() as connection:
            parts = await uploads.directed(connection, upload.id, begun, spans, lifetime=self._lifetime)
        if parts != begun:
            await self._place.forget_parts(upload.handle, begun)
        if parts is None:
            raise UploadNotFound
        return upload.handle, parts

    async def there(self, upload_id: str) -> tuple[Cut, dict[int, int]]:
        """How the upload is cut, and bytes of the parts that have come, by number. As `tickets`."""
        upload = await self._holding.find(upload_id)
        cut = cut_of(upload)
        if upload.direct is None or upload.handle is None:
            return cut, {}
        handle, parts = upload.handle, upload.direct
        return cut, {one.number: one.size for one in await self._place.parts(handle, parts)}

    async def complete(self, upload_id: str) -> Upload:
        """All parts have come; what the upload is to be is made of them. The same again, if it was said before.

        As `tickets`, PartsMissing, and what `Finishing.finish` raises.
        """
        if (upload := await self._holding.find(upload_id)).is_closed:
            return upload
        async with self._holding.held(upload_id) as (upload, unfinished):
            if unfinished is None:
                return upload
            if not upload.is_complete:
                size = cut_of(upload).size
                await self._limiting.room(upload.owner, upload.space, size=size, already=upload.staged)
                mark = await self._joined(upload)
                await self._holding.tell(upload, upload.mark, mark)
                await unfinished.go_on(mark, None)
            return await self._finishing.finish(await self._holding.find(upload_id), unfinished)

    async def _joined(self, upload: Upload) -> Mark:
        cut = cut_of(upload)
        assert upload.handle is not None, "what has a cut has a handle"
        if upload.direct is None:
            raise PartsMissing("No part has come.")
        mark = await self._place.joined(upload.handle, upload.direct)
        if mark is not None:  # whoever said it before has died since
            return mark
        here = {one.number: one for one in await self._place.parts(upload.handle, upload.direct)}
        missing = [number for number in range(1, cut.count + 1) if number not in here]
        wrong = [one.number for one in here.values() if one.number > cut.count or one.size != cut.size_of(one.number)]
        if missing or wrong:
            raise PartsMissing(
                " ".join(
                    f"{said}: {', '.join(map(str, numbers[:SHOWN]))}{' …' if len(numbers) > SHOWN else ''}."
                    for said, numbers in (("Parts that have not come", missing), ("Parts of another size", wrong))
                    if numbers
                ),
                missing=missing[:SHOWN],
                wrong=wrong[:SHOWN],
            )
        return await self._place.complete_parts(upload.handle, upload.direct, [here[n + 1] for n in range(cut.count)])


def cut_of(upload: Upload) -> Cut:
    """UploadDone, DirectImpossible."""
    if upload.is_closed:
        raise UploadDone
    if upload.size is None or upload.handle is None or upload.parts is not None:
        raise DirectImpossible("The size of this upload is not known, or it is joined of others.")
    if upload.received:
        raise DirectImpossible(f"{upload.received} bytes of this upload have come through the service: go on there.")
    return Cut(upload.size)
