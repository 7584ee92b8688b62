from datetime import UTC, datetime
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from drs_service.blobs.cloud_http import Request, with_query
from drs_service.blobs.s3_short import Address
from drs_service.blobs.sigv4 import Key, signed

KEYS = st.builds(
    Key, id=st.just("AKIDEXAMPLE"), secret=st.text(min_size=1), token=st.none() | st.just("session/token+=")
)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1)).map(lambda one: one.replace(tzinfo=UTC))  # noqa: DTZ001
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-MD5": st.just("1B2M2Y8AsgTpgAmY7PhCfg=="),
        "If-None-Match": st.just("*"),
        "Range": st.just("bytes=0-9"),
    },
)
QUERIES = st.fixed_dictionaries({}, optional={"partNumber": st.just("12"), "uploadId": st.text(min_size=1)})
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(st.sampled_from(["GET", "HEAD", "PUT"]), NAMES, QUERIES, HEADERS, KEYS, MOMENTS)
def test_the_signature_is_botocores(
    method: str, name: str, query: dict[str, str], headers: dict[str, str], key: Key, now: datetime
) -> None:
    url = f"https://bucket.s3.eu-west-1.amazonaws.com:8443/{quote(name, safe='/-_.~')}"
    ours = signed(Request(method=method, url=url, query=query, headers=headers), key, "eu-west-1", now=now)
    said = dict(ours.headers)
    authorization = said.pop("authorization")
    theirs = AWSRequest(method=method, url=with_query(url, query), headers=said)
    theirs.context |= {"timestamp": said["x-amz-date"], "payload_signing_enabled": False}
    signer = S3SigV4Auth(Credentials(key.id, key.secret, key.token), "s3", "eu-west-1")
    signature = signer.signature(signer.string_to_sign(theirs, signer.canonical_request(theirs)), theirs)
    names = signer.signed_headers(signer.headers_to_sign(theirs))
    assert authorization == (
        f"AWS4-HMAC-SHA256 Credential={key.id}/{now:%Y%m%d}/eu-west-1/s3/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def test_the_address_is_the_one_that_botocore_signs_for() -> None:
    query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20261121%2Feu-west-1%2Fs3%2Faws4_request"
    assert Address.found_in(f"http://127.0.0.1:9000/bucket/sample?{query}", "sample") == Address(
        "http://127.0.0.1:9000/bucket/", "eu-west-1"
    )
    assert Address.found_in(f"https://bucket.s3.amazonaws.com/sample?{query}", "sample") == Address(
        "https://bucket.s3.amazonaws.com/", "eu-west-1"
    )
    for other in ("X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256", "AWSAccessKeyId=AKID&Signature=a", ""):
        assert Address.found_in(f"https://bucket.s3.amazonaws.com/sample?{other}", "sample") is None
