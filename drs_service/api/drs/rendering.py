"""Objects as JSON. A bundle may have many members: its JSON is streamed, and never held whole."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

import msgspec
from litestar.types import ASGIApp

from drs_service.api.answers import Json, StreamedJson
from drs_service.api.drs import shapes
from drs_service.api.public import PublicUrls
from drs_service.domain.objects import DrsObject, Kind, Member
from drs_service.usecases.bundles import Bundles, Enter, Leave
from drs_service.usecases.objects import Known

METADATA = "private, no-cache"  # it can change; a cache asks again, and its ETag is enough
Shape = Callable[[DrsObject, PublicUrls], object]


def face_of(stored: DrsObject, urls: PublicUrls, shape: Shape = shapes.shape) -> Json:
    """The JSON of an object without contents: its answer, if it is no bundle. It may be given as often as asked for."""
    return Json(shape(stored, urls), cache_control=METADATA, cached=True)


class Rendering:
    """Renders objects in the shape of one version of DRS."""

    def __init__(self, bundles: Bundles, urls: PublicUrls, *, shape: Shape = shapes.shape) -> None:
        self._bundles = bundles
        self._urls = urls
        self._shape = shape

    def body(self, stored: DrsObject) -> bytes:
        """The JSON of an object without contents."""
        return msgspec.json.encode(self._shape(stored, self._urls))

    async def one(self, known: Known[Json], *, expand: bool) -> ASGIApp:
        """The answer to a GET or POST of an object."""
        stored = known.object
        # What is kept with the object is its face in the version that most clients speak.
        face = known.face if self._shape is shapes.shape else face_of(stored, self._urls, self._shape)
        if stored.kind is not Kind.BUNDLE:
            return face
        # An id's member set never changes (DRS 1.5.0, "DRS IDs"), so the rest of its JSON is tag enough. Only what is
        # within its members goes when a bundle among them is deleted.
        tag = face.body + (b"expanded %d" % await self._bundles.entered(stored.id) if expand else b"direct")
        return StreamedJson(self._pieces(stored, face.body, expand=expand), cache_control=METADATA, tag=tag)

    def changed(self, stored: DrsObject) -> ASGIApp:
        """The answer to a change of an object."""
        return self.many("", [(stored, self.body(stored))], "", cache_control="no-store")

    def many(
        self,
        before: str,
        objects: Sequence[tuple[DrsObject, bytes]],
        after: str,
        *,
        expand: bool = False,
        status: int = 200,
        cache_control: str,
        headers: Mapping[str, str] | None = None,
    ) -> ASGIApp:
        """Objects, with their JSON without contents, separated by commas between two texts that make them JSON."""
        if all(stored.kind is not Kind.BUNDLE for stored, _ in objects):
            body = before.encode() + b",".join([body for _, body in objects]) + after.encode()
            return Json(msgspec.Raw(body), status=status, cache_control=cache_control, headers=headers)
        pieces = self._many_pieces(before.encode(), objects, after.encode(), expand=expand)
        return StreamedJson(pieces, status=status, cache_control=cache_control, headers=headers)

    async def _many_pieces(
        self, before: bytes, objects: Sequence[tuple[DrsObject, bytes]], after: bytes, *, expand: bool
    ) -> AsyncGenerator[bytes, None]:
        yield before
        for number, (stored, body) in enumerate(objects):
            if number:
                yield b","
            async with aclosing(self._pieces(stored, body, expand=expand)) as pieces:
                async for piece in pieces:
                    yield piece
        yield after

    async def _pieces(self, stored: DrsObject, body: bytes, *, expand: bool) -> AsyncGenerator[bytes, None]:
        """The JSON of one object, with its contents if it is a bundle."""
        if stored.kind is not Kind.BUNDLE:
            yield body
            return
        yield body[:-1] + b',"contents":['
        separator = b""
        async with aclosing(self._bundles.walk(stored.id, expand=expand)) as steps:
            async for step in steps:
                match step:
                    case Enter(member):
                        yield separator + self._member(member)[:-1] + b',"contents":['
                        separator = b""
                    case Leave():
                        yield b"]}"
                        separator = b","
                    case Member():
                        yield separator + self._member(step)
                        separator = b","
        yield b"]}"

    def _member(self, member: Member) -> bytes:
        return msgspec.json.encode(shapes.member(member, self._urls))
