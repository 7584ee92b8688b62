"""How places that are reached over a network are reached."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drs_service.errors import SettingsInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """What is None is found as AWS's own tools find it: in their variables and files, or asked of the machine."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureAccess:
    """Without a key, whoever Azure's own library finds asks: in its variables, of its tools, of the machine."""

    account: str | None = None
    account_key: str | None = field(default=None, repr=False)
    endpoint_url: str | None = None
    """Where the containers of the account are; None is Azure's own."""


def parsed_connection_string(text: str) -> AzureAccess:
    """As Azure's portal shows it. SettingsInvalid."""
    said = dict(word.split("=", 1) for word in text.strip().split(";") if "=" in word)
    account, key = said.get("AccountName"), said.get("AccountKey")
    if not account or not key:
        raise SettingsInvalid("DRS_AZURE_CONNECTION_STRING: must have an AccountName and an AccountKey")
    scheme, suffix = said.get("DefaultEndpointsProtocol", "https"), said.get("EndpointSuffix", "core.windows.net")
    endpoint = said.get("BlobEndpoint", f"{scheme}://{account}.blob.{suffix}")
    return AzureAccess(account=account, account_key=key, endpoint_url=endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsAccess:
    """Without a file, whoever Google's own library finds asks; of an endpoint that is not Google's nobody."""

    endpoint_url: str | None = None
    credentials_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FsspecAccess:
    """To places that we have no driver of our own for."""

    protocols: frozenset[str] = frozenset()
    """Those of fsspec that the operator has named."""
    options: Mapping[str, str] = field(default_factory=dict)
    """As the protocol's library names them."""
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """To all of them; what is not needed is not looked at."""

    s3: S3Access = S3Access()
    azure: AzureAccess = AzureAccess()
    gcs: GcsAccess = GcsAccess()
    fsspec: FsspecAccess = FsspecAccess()
