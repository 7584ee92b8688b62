"""Services whose bytes are in S3: a part of a bucket that nobody else uses."""

import secrets
from dataclasses import replace
from typing import Any

import pytest

from drs_service.settings import Secret, Settings
from tests.support.s3 import S3Server


class Bucket:
    """What is in the bucket, seen behind the service's back."""

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.name = server.shared_bucket()
        self.prefix = f"{secrets.token_hex(8)}/"

    @property
    def url(self) -> str:
        return f"s3://{self.name}/{self.prefix}"

    def keys(self, prefix: str = "") -> list[str]:
        at = {"Bucket": self.name, "Prefix": self.prefix + prefix}
        pages: Any = self.server.client.get_paginator("list_objects_v2").paginate(**at)
        return [one["Key"].removeprefix(self.prefix) for page in pages for one in page.get("Contents", ())]

    def blobs(self) -> list[str]:
        return self.keys("sha256/")

    def waiting(self) -> list[str]:
        """What there is of uploads that wait for more."""
        begun = self.server.client.list_multipart_uploads(Bucket=self.name, Prefix=f"{self.prefix}staging/waiting/")
        return [*self.keys("staging/waiting/"), *(one["Key"] for one in begun.get("Uploads", ()))]

    def parts(self) -> list[int]:
        """Numbers of the parts that have come to the only object that is begun."""
        begun = self.server.client.list_multipart_uploads(Bucket=self.name, Prefix=self.prefix).get("Uploads", ())
        return [
            part["PartNumber"]
            for one in begun
            for part in self.server.client.list_parts(Bucket=self.name, Key=one["Key"], UploadId=one["UploadId"]).get(
                "Parts", ()
            )
        ]


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    return Bucket(s3)


@pytest.fixture
def settings(settings: Settings, bucket: Bucket) -> Settings:
    access = bucket.server.access
    return replace(
        settings,
        storage_url=bucket.url,
        s3_endpoint_url=access.endpoint_url,
        s3_access_key_id=access.access_key_id,
        s3_secret_access_key=Secret(access.secret_access_key or ""),
    )
