"""A part of a bucket of S3 that nobody else uses, seen behind the service's back."""

import secrets
from contextlib import suppress

from botocore.exceptions import ClientError

from drs_service.blobs.access import S3Access
from drs_service.settings import Settings
from tests.support.s3 import S3Server


class Bucket:
    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.name = server.bucket
        self.prefix = f"{secrets.token_hex(8)}/"

    @property
    def url(self) -> str:
        return f"s3://{self.name}/{self.prefix}"

    @property
    def access(self) -> S3Access:
        return self.server.access().s3

    def settings(self, settings: Settings) -> Settings:
        """Those of a service that keeps its bytes here."""
        said = {"DRS_STORAGE_URL": self.url, **self.server.settings()}
        return Settings.from_env(settings.to_env() | said)

    def keys(self, prefix: str = "") -> list[str]:
        return [name.removeprefix(self.prefix) for name in self.server.names(self.prefix + prefix)]

    def blobs(self) -> list[str]:
        return self.keys("sha256/")

    def waiting(self) -> list[str]:
        """What there is of uploads that wait for more."""
        return [*self.keys("staging/waiting/"), *self.server.begun(f"{self.prefix}staging/waiting/")]

    def parts(self) -> list[int]:
        """Numbers of the parts that have come to what is begun."""
        client, at = self.server.client, {"Bucket": self.name}
        numbers: list[int] = []
        for one in client.list_multipart_uploads(**at, Prefix=self.prefix).get("Uploads", ()):
            with suppress(ClientError):  # it may be over by now, or not quite begun
                listing = client.list_parts(**at, Key=one["Key"], UploadId=one["UploadId"])
                numbers += [part["PartNumber"] for part in listing.get("Parts", ())]
        return numbers
