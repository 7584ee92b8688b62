"""One composition for all tests here, which the last of them stops."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from drs_service.blobs.access import S3Access
from tests.support.compose import ROOT
from tests.support.containers import Composition, missing
from tests.support.s3 import S3Server


@pytest.fixture(scope="session")
def composition(roomy: Path, s3: S3Server) -> Iterator[Composition]:
    """Running and healthy. `.env` is `.env.example`, with an algorithm to be applied to every file."""
    if reason := missing():
        pytest.skip(reason)
    example = (ROOT / ".env.example").read_text().splitlines()
    dotenv = {
        name: value.strip('"') for name, _, value in (line.partition("=") for line in example if line[:1].isupper())
    }
    (directory := roomy / "compose").mkdir()
    composition = Composition(directory, s3, dotenv | {"DRS_CHECKSUMS": "md5"})
    make_bucket(composition)
    try:
        composition.up()
        yield composition
    finally:
        composition.kill()


def make_bucket(composition: Composition) -> None:
    """In Ceph, what Garage would make at its first start: and no other than the nodes will ask for."""
    store = composition.services["store"]
    garage = tomllib.loads((ROOT / store.mounts["/etc/garage.toml"]).read_text())
    node = composition.services["web1"].environment
    assert node["DRS_STORAGE_URL"] == f"s3://{store.environment['GARAGE_DEFAULT_BUCKET']}"
    assert node["DRS_S3_ENDPOINT_URL"] == f"http://store:{garage['s3_api']['api_bind_addr'].rpartition(':')[2]}"
    assert node["DRS_S3_REGION"] == garage["s3_api"]["s3_region"]
    assert node["DRS_S3_ACCESS_KEY_ID"] == store.environment["GARAGE_DEFAULT_ACCESS_KEY"]
    assert garage["metadata_fsync"] and garage["data_fsync"], "what is acknowledged is durable"
    secret = (composition.directory / "secrets" / "s3_secret_access_key").read_text().strip()
    owner = S3Access(access_key_id=node["DRS_S3_ACCESS_KEY_ID"], secret_access_key=secret)
    composition.s3.own_bucket(store.environment["GARAGE_DEFAULT_BUCKET"], owner)
