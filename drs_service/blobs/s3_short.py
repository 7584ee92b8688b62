"""The short way to S3, for what is asked of it all the time.

botocore spends more than a millisecond of processor time on a request: it looks the address up anew, shapes the request
by a model of the service, and lets a dozen listeners see it. Here the address and the region are what botocore has said
of the bucket once, and the request is signed and sent as it is. What is not answered as hoped goes botocore's way
afterwards, which knows redirections, what is worth another attempt, and what every error is called. Where that happens
again and again, everything goes botocore's way for a while.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

import structlog

from drs_service.blobs.cloud_http import Body, CloudHttp, Request, refusal
from drs_service.blobs.proxies import proxy_of
from drs_service.blobs.s3_errors import is_final, said_as
from drs_service.blobs.sigv4 import ALGORITHM, SERVICE, Key, signed
from drs_service.errors import StorageUnavailable

METHODS = {"put_object": "PUT", "upload_part": "PUT", "head_object": "HEAD", "get_object": "GET"}
IN_HEADERS = {"ContentMD5": "Content-MD5", "IfNoneMatch": "If-None-Match", "Range": "Range"}
IN_QUERY = {"PartNumber": "partNumber", "UploadId": "uploadId"}
KNOWN = {*IN_HEADERS, *IN_QUERY, "Body", "ContentLength"}
SAID = {
    "ETag": "ETag",
    "ContentLength": "Content-Length",
    "ContentRange": "Content-Range",
    "StorageClass": "x-amz-storage-class",
    "Restore": "x-amz-restore",
    "ArchiveStatus": "x-amz-archive-status",
}

FAILURES = 5  # in a row
REST = 60  # seconds without the short way then

CODE = re.compile(rb"<Code>(\w+)</Code>")

log = structlog.get_logger()

KeyNow = Callable[[], Awaitable[Key | None]]


@dataclass(frozen=True, slots=True)
class Address:
    base: str
    """Of the bucket, with a slash at its end."""
    region: str

    @classmethod
    def found_in(cls, presigned: str, name: str) -> Self | None:
        """As botocore says it in the URL that it signs for an object;
        None if it is signed in another way, or reached by a proxy."""
        url = urlsplit(presigned)
        query = parse_qs(url.query)
        if query.get("X-Amz-Algorithm") != [ALGORITHM] or not url.path.endswith(f"/{name}"):
            return None
        _, _, region, service, _ = query["X-Amz-Credential"][0].rsplit("/", 4)
        if service != SERVICE or proxy_of(presigned) is not None:
            return None
        return cls(f"{url.scheme}://{url.netloc}{url.path.removesuffix(name)}", region)


class ShortWay:
    def __init__(self, address: Address, key_now: KeyNow) -> None:
        self._address = address
        self._key_now = key_now
        self._http = CloudHttp(self._sign, code_in, attempts=1)
        self._failures = 0
        self._rests_until = 0.0

    async def call(self, method: str, key: str, arguments: Mapping[str, Any]) -> Any:
        """What a call of botocore's client of that name would answer, as far as we look at it; None if it is not known
        that way.

        botocore's error if the object is not there or is archived, or a condition is not met.
        """
        if method not in METHODS or not arguments.keys() <= KNOWN or self._rests():
            return None
        request = Request(
            method=METHODS[method],
            url=self._address.base + quote(key, safe="/-_.~"),
            query={IN_QUERY[name]: str(said) for name, said in arguments.items() if name in IN_QUERY},
            headers={IN_HEADERS[name]: said for name, said in arguments.items() if name in IN_HEADERS},
            body=[arguments["Body"].getvalue()] if "Body" in arguments else (),
        )
        try:
            response = await self._http.answered(request)
        except StorageUnavailable as error:
            said = refusal(error)
            if is_final(method, code := said.code or str(said.status)):
                self._failures = 0
                raise said_as(method, said.status, code) from error
            self._note_failure(error)
            return None
        self._failures = 0
        answer = {name: response.headers[header] for name, header in SAID.items() if header in response.headers}
        if method == "get_object":
            return answer | {"Body": Body(response)}
        async with response:
            return answer | {"ContentLength": int(response.headers.get("Content-Length", 0))}

    def _rests(self) -> bool:
        return time.monotonic() < self._rests_until

    def _note_failure(self, error: StorageUnavailable) -> None:
        self._failures += 1
        if self._failures >= FAILURES and not self._rests():
            self._failures, self._rests_until = 0, time.monotonic() + REST
            log.warning("the short way to S3 fails: botocore's is taken", seconds=REST, error=str(error), **error.facts)

    async def _sign(self, request: Request) -> Request:
        key = await self._key_now()
        return signed(request, key, self._address.region) if key is not None else request

    async def close(self) -> None:
        await self._http.close()


def code_in(_: Mapping[str, str], said: bytes) -> str:
    found = CODE.search(said)
    return found[1].decode() if found else ""
