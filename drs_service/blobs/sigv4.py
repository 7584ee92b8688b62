"""AWS Signature Version 4 in headers, as S3 asks for it.

docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, urlsplit

from drs_service.blobs.cloud_http import Request

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"
# Bodies go with their MD5, which is signed: hashing them once more would tell the store nothing.
UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    """Of a session, if the key is one of a session."""


def signed(request: Request, key: Key, region: str, *, now: datetime | None = None) -> Request:
    """The request with an `Authorization` that vouches for its method, address and headers.

    The path of its URL is percent-encoded already, by each character but `/` and the unreserved ones of RFC 3986.
    """
    moment = f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    url = urlsplit(request.url)
    said = {name.lower(): value.strip() for name, value in request.headers.items()}
    said |= {"host": url.netloc, "x-amz-date": moment, "x-amz-content-sha256": UNSIGNED}
    if key.token is not None:
        said["x-amz-security-token"] = key.token
    names = ";".join(sorted(said))
    canonical = "\n".join(
        (
            request.method,
            url.path,
            canonical_query(request.query),
            *(f"{name}:{said[name]}" for name in sorted(said)),
            "",
            names,
            UNSIGNED,
        )
    )
    day = moment[:8]
    scope = f"{day}/{region}/{SERVICE}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = hmac.digest(
        signing_key(key.secret, day, region), f"{ALGORITHM}\n{moment}\n{scope}\n{digest}".encode(), "sha256"
    )
    del said["host"]
    said["authorization"] = (
        f"{ALGORITHM} Credential={key.id}/{scope}, SignedHeaders={names}, Signature={signature.hex()}"
    )
    return Request(method=request.method, url=request.url, query=request.query, headers=said, body=request.body)


def canonical_query(query: Mapping[str, str]) -> str:
    return "&".join(sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()))


@lru_cache(maxsize=16)
def signing_key(secret: str, day: str, region: str) -> bytes:
    made = f"AWS4{secret}".encode()
    for part in (day, region, SERVICE, "aws4_request"):
        made = hmac.digest(made, part.encode(), "sha256")
    return made
