"""What a refusal means to `put` and `get`: whether to come again, and when."""

import pytest

from drs_service.client.answers import refused
from drs_service.errors import DrsServiceError, QuotaExceeded, Rejected, Unavailable
from drs_service.outgoing.transfers import Reply


@pytest.mark.parametrize(
    ("status", "body", "meant"),
    [
        (429, b'{"msg": "m", "status_code": 429, "code": "too_many_at_once"}', Unavailable),
        (507, b'{"msg": "m", "status_code": 507, "code": "storage_full"}', Unavailable),
        (507, b'{"msg": "m", "status_code": 507, "code": "quota_exceeded"}', QuotaExceeded),
        (413, b'{"msg": "m", "status_code": 413, "code": "upload_too_large"}', Rejected),
        (507, b"<html>", Unavailable),
    ],
)
def test_what_lasts_is_not_waited_for(status: int, body: bytes, meant: type[DrsServiceError]) -> None:
    error = refused(Reply(url="http://drs.example.org/tus", status=status, headers={"Retry-After": "7"}, body=body))
    assert type(error) is meant
    assert error.facts.get("retry_after") == (7.0 if meant is Unavailable else None)
