"""The archives of S3, in front of a real server that has none: what is put away is given out once it was restored.

As Amazon answers: https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import unquote
from xml.etree import ElementTree

import aiohttp
from aiohttp import web

from drs_service.blobs.access import Access
from tests.support.proxying import Handler, asked, proxying, refused, streamed
from tests.support.s3 import S3Server

ONE = re.compile(r"<Contents>.*?</Contents>", re.DOTALL)
STANDARD = "<StorageClass>STANDARD</StorageClass>"
SMART = "INTELLIGENT_TIERING"


@dataclass(slots=True)
class Put:
    """An object that is put away."""

    storage_class: str
    status: str | None = None
    """The archive of an object that chooses its class itself."""
    asked: bool = False
    until: datetime | None = None

    @property
    def is_there(self) -> bool:
        return self.until is not None and self.until > datetime.now(UTC)

    def headers(self) -> dict[str, str]:
        said = {"x-amz-storage-class": self.storage_class}
        if self.status is not None:
            said["x-amz-archive-status"] = self.status
        if self.asked:
            said["x-amz-restore"] = 'ongoing-request="true"'
        elif self.is_there and self.until is not None:
            expiry = format_datetime(self.until, usegmt=True)
            said["x-amz-restore"] = f'ongoing-request="false", expiry-date="{expiry}"'
        return said


@dataclass(frozen=True, slots=True)
class Restore:
    """What was asked for."""

    name: str
    tier: str
    days: int | None


class Glacier:
    def __init__(self, server: S3Server, session: aiohttp.ClientSession) -> None:
        self.url = ""
        self.server = server
        self.restores: list[Restore] = []
        self.read: list[str] = []
        """Names whose bytes were asked for."""
        self.is_busy = False
        """Whether nothing can be had within minutes just now."""
        self._session = session
        self._put: dict[str, Put] = {}

    @property
    def access(self) -> Access:
        return self.server.access(url=self.url)

    def put_away(self, name: str, storage_class: str = "GLACIER", status: str | None = None) -> None:
        """As a lifecycle rule does it."""
        self._put[name] = Put(storage_class, status)

    def give_back(self, *, valid: timedelta = timedelta(days=7)) -> None:
        """Finish the restores that were asked for."""
        for name, one in list(self._put.items()):
            if one.asked and one.status is not None:
                del self._put[name]
            elif one.asked:
                one.asked, one.until = False, datetime.now(UTC) + valid

    def take_out(self, name: str) -> None:
        """As its owner does, who has brought it back for good."""
        del self._put[name]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        bucket, _, name = request.path[1:].partition("/")
        put = self._put.get(name)
        if "restore" in request.query:
            return await self._restore(request, name, put)
        if request.method == "GET" and name:
            self.read.append(name)
        if request.method == "GET" and put is not None and not put.is_there:
            return refused(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
        return await self._passed(request, put, is_listing=request.method == "GET" and bucket != "" and not name)

    async def _restore(self, request: web.Request, name: str, put: Put | None) -> web.Response:
        assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256")
        if put is None:
            return refused(403, "InvalidObjectState", "Restore is not allowed for the object's current storage class")
        if put.asked:
            return refused(409, "RestoreAlreadyInProgress", "Object restore is already in progress")
        body = re.sub(r' xmlns="[^"]+"', "", await request.text())
        wanted = ElementTree.fromstring(body)
        days, tier = wanted.findtext("Days"), wanted.findtext("GlacierJobParameters/Tier", "Standard")
        is_deep = {put.storage_class, put.status} & {"DEEP_ARCHIVE", "DEEP_ARCHIVE_ACCESS"}
        if (days is None) != (put.status is not None) or (is_deep and tier == "Expedited"):
            return refused(400, "MalformedXML", body)
        if self.is_busy and tier == "Expedited":
            return refused(503, "GlacierExpeditedRetrievalNotAvailable", "Try again later")
        self.restores.append(Restore(name, tier, int(days) if days is not None else None))
        put.asked = True
        return web.Response(status=202)

    async def _passed(self, request: web.Request, put: Put | None, *, is_listing: bool) -> web.StreamResponse:
        async with asked(self._session, self.server.url, request) as (answer, said):
            if request.method in {"PUT", "DELETE"} and answer.ok:
                self._put.pop(request.path[1:].partition("/")[2], None)
            if put is not None and request.method in {"GET", "HEAD"}:
                said |= put.headers()
            if is_listing:
                said.pop("Content-Length", None)
                text = ONE.sub(self._as_listed, (await answer.read()).decode())
                return web.Response(status=answer.status, body=text.encode(), headers=said)
            return await streamed(request, answer, said)

    def _as_listed(self, found: re.Match[str]) -> str:
        name = re.search(r"<Key>(.*?)</Key>", found[0])
        put = self._put.get(unquote(name[1])) if name else None
        return found[0].replace(STANDARD, f"<StorageClass>{put.storage_class}</StorageClass>") if put else found[0]


@asynccontextmanager
async def glacier(server: S3Server) -> AsyncIterator[Glacier]:
    made: list[Glacier] = []

    def answering(session: aiohttp.ClientSession) -> Handler:
        made.append(Glacier(server, session))
        return made[0].answer

    async with proxying(answering) as url:
        made[0].url = url
        yield made[0]
