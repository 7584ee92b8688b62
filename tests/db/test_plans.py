"""What a busy service asks, with many rows there: an index answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from drs_service.db import blobs, objects
from drs_service.db.pool import Connection
from tests.db.conftest import connected
from tests.support.postgres import Postgres

FILL = """
    INSERT INTO blobs (digest, size) SELECT sha256(n::text::bytea), n FROM generate_series(1, 20000) AS n;
    INSERT INTO replicas (digest, place, key) SELECT digest, 'primary', encode(digest, 'hex') FROM blobs;
    INSERT INTO checksums (digest, algorithm, value) SELECT digest, 'md5', md5(size::text) FROM blobs;
    INSERT INTO objects (id, digest, size, name, file_name, media_type)
        SELECT 'object-' || size, digest, size, 'name', 'name', 'text/plain' FROM blobs;
    INSERT INTO aliases (object_id, alias) SELECT id, 'alias' FROM objects;
    INSERT INTO object_checksums (object_id, algorithm, value) SELECT id, 'crc32c', left(md5(id), 8) FROM objects;
    INSERT INTO tags (object_id, key, value) SELECT id, 'number', id FROM objects;
    INSERT INTO tags (object_id, key, value) SELECT id, 'parity', left(md5(id), 1) FROM objects;
    ANALYZE;
"""
REFERRED = "SELECT EXISTS (SELECT FROM objects WHERE digest = $1)"
# What the foreign key asks when a blob is deleted.
REFERRING = "SELECT 1 FROM ONLY objects WHERE digest = $1 FOR KEY SHARE"


@pytest.fixture(scope="module")
def filled_url(postgres: Postgres) -> Iterator[str]:
    """A database with many rows, for all tests here: they only ask."""
    with postgres.database() as url:
        asyncio.run(fill(url))
        yield url


async def fill(url: str) -> None:
    async with connected(url) as connection:
        await connection.execute(FILL)


@pytest.fixture
async def filled(filled_url: str) -> AsyncIterator[Connection]:
    async with connected(filled_url) as connection:
        yield connection


async def plan(connection: Connection, query: str, *arguments: object) -> list[dict[str, Any]]:
    """The nodes of the plan for a query."""
    [explained] = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments))

    def nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
        return [node, *(inner for child in node.get("Plans", []) for inner in nodes(child))]

    return nodes(explained["Plan"])


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("count", [1, 256])
async def test_indexes_find_objects_by_their_ids(filled: Connection, mode: str, count: int) -> None:
    await filled.execute(f"SET plan_cache_mode = {mode}")
    ids = [f"object-{number * 7}" for number in range(1, count + 1)]
    nodes = await plan(filled, objects.SELECT, ids)
    assert {"objects_pkey"} <= indexes(nodes)
    if count == 1:
        assert {"objects_pkey", "object_checksums_pkey", "checksums_pkey", "aliases_pkey", "tags_pkey"} <= indexes(
            nodes
        )
        assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]


@pytest.mark.parametrize("query", [REFERRED, REFERRING])
async def test_an_index_tells_whether_anything_refers_to_a_digest(filled: Connection, query: str) -> None:
    digest = await filled.fetchval("SELECT digest FROM blobs LIMIT 1")
    assert "objects_digest_idx" in indexes(await plan(filled, query, digest))


@pytest.mark.parametrize("count", [1, 1000])
async def test_an_index_tells_which_blobs_are_known(filled: Connection, count: int) -> None:
    digests = [row["digest"] for row in await filled.fetch("SELECT digest FROM blobs LIMIT $1", count)]
    assert "blobs_pkey" in indexes(await plan(filled, blobs.KNOWN, digests))


def indexes(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in nodes if "Index Name" in node}
