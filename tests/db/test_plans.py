"""What a busy service asks, with many rows there: an index answers."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import asyncpg
import pytest

from drs_service.db import blobs, holdings, listing, objects, uploads
from drs_service.db.pool import Connection
from tests.db.conftest import connected
from tests.support.postgres import Postgres

SHA1 = hashlib.sha1(b"").hexdigest()
FILL = f"""
    INSERT INTO blobs (digest, size) SELECT sha256(n::text::bytea), n FROM generate_series(1, 20000) AS n;
    INSERT INTO replicas (digest, place, key) SELECT digest, 'primary', encode(digest, 'hex') FROM blobs;
    INSERT INTO checksums (digest, algorithm, value) SELECT digest, 'md5', md5(size::text) FROM blobs;
    INSERT INTO objects (id, digest, size, name, file_name, media_type)
        SELECT 'object-' || size, digest, size, 'name', 'name', 'text/plain' FROM blobs;
    INSERT INTO aliases (object_id, alias) SELECT id, 'alias' FROM objects;
    INSERT INTO object_checksums (object_id, algorithm, value) SELECT id, 'crc32c', left(md5(id), 8) FROM objects;
    INSERT INTO tags (object_id, key, value) SELECT id, 'number', id FROM objects;
    INSERT INTO tags (object_id, key, value) SELECT id, 'parity', left(md5(id), 1) FROM objects;
    INSERT INTO blobs (digest, size) VALUES (sha256(''), 0);
    INSERT INTO checksums (digest, algorithm, value) VALUES (sha256(''), 'md5', md5(''));
    INSERT INTO objects (id, digest, size, name, file_name, media_type)
        SELECT 'empty-' || n, sha256(''), 0, 'name', 'name', 'text/plain' FROM generate_series(1, 20000) AS n;
    INSERT INTO object_checksums (object_id, algorithm, value) SELECT id, 'sha1', '{SHA1}' FROM objects
        WHERE digest = sha256('');
    INSERT INTO tags (object_id, key, value) SELECT id, 'common', 'yes' FROM objects;
    INSERT INTO spaces (id) VALUES ('other');
    INSERT INTO objects (id, kind, size, space_id, deleted_time, name, file_name, media_type)
        SELECT 'buried-' || n, 'blob', 0, 'default', now(), 'name', 'name', 'text/plain'
        FROM generate_series(1, 5000) AS n;
    INSERT INTO objects (id, digest, size, space_id, name, file_name, media_type)
        SELECT 'foreign-' || n, sha256(''), 0, 'other', 'name', 'name', 'text/plain' FROM generate_series(1, 5000) AS n;
    INSERT INTO uploads (id, owner_id, space_id, name, file_name, media_type, size, checksums, expires_at)
        SELECT 'upload-' || n, 'anonymous', 'default', 'a', 'a', 'text/plain', 1, '{{}}', now() + interval '1 day'
        FROM generate_series(1, 5000) AS n;
    INSERT INTO principals (id, kind) SELECT 'owner-' || n, 'user' FROM generate_series(1, 5000) AS n;
    INSERT INTO holding_changes (owner_id, space_id, kept) SELECT id, 'space-of-' || id, 1 FROM principals;
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
    return inside(explained["Plan"])


def inside(node: dict[str, Any]) -> list[dict[str, Any]]:
    """A node of a plan, and those that it is made of."""
    return [node, *(inner for child in node.get("Plans", []) for inner in inside(child))]


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


PAGE = 257  # ids: a page, and one to see whether another follows
PAGES = pytest.mark.parametrize("after", ["", "object-4"], ids=["first page", "late page"])
MODES = pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])


class Asking:
    """A connection that explains what it is asked, and so tells what finding costs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.nodes: list[dict[str, Any]] = []

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        [explained] = json.loads(await self._connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments))
        self.nodes = inside(explained["Plan"])
        return await self._connection.fetch(query, *arguments)

    def assert_cheap(self, *expected: str) -> None:
        """It went along the indexes, looked at few rows, and sorted none but those of pages already cut."""
        assert set(expected) <= indexes(self.nodes), self.nodes
        assert not [node for node in self.nodes if node["Node Type"] == "Seq Scan"], self.nodes
        for node in self.nodes:
            assert (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] <= 4 * PAGE, (
                node
            )


@MODES
@pytest.mark.parametrize("after", [0, 2500])
async def test_a_page_of_unfinished_uploads_reads_no_more_than_itself(
    filled: Connection, mode: str, after: int
) -> None:
    await filled.execute(f"SET plan_cache_mode = {mode}")
    asking = Asking(filled)
    found = await uploads.unfinished(cast(Connection, asking), "anonymous", after=after, limit=PAGE)
    assert [one.number for one in found] == [*range(after + 1, after + PAGE + 1)]
    asking.assert_cheap("uploads_listed_idx")


@MODES
async def test_what_an_owner_holds_is_found_along_indexes(filled: Connection, mode: str) -> None:
    await filled.execute(f"SET plan_cache_mode = {mode}")
    nodes = await plan(filled, holdings.SELECT, "owner-7", "space-of-owner-9")
    assert {"holding_changes_owner_id_idx", "holding_changes_space_id_idx"} <= indexes(nodes)


@MODES
@PAGES
async def test_a_page_of_a_listing_reads_no_more_than_itself(filled: Connection, mode: str, after: str) -> None:
    await filled.execute(f"SET plan_cache_mode = {mode}")
    asking = Asking(filled)
    found = await listing.ids_in(cast(Connection, asking), ["default"], after=after, limit=PAGE)
    assert len(found) == PAGE
    asking.assert_cheap("objects_listed_idx")
    assert not sorts(asking.nodes)


@MODES
@PAGES
@pytest.mark.parametrize(
    ("tags", "index", "many"),
    [
        ([("common", "yes")], "tags_key_value_idx", True),
        ([("common", None)], "tags_key_idx", True),
        ([("common", "yes"), ("number", "object-99")], "tags_key_value_idx", False),
        ([("nothing", None)], "tags_key_idx", False),
    ],
)
async def test_a_page_of_what_has_tags_reads_no_more_than_itself(
    filled: Connection, mode: str, after: str, tags: list[tuple[str, str | None]], index: str, many: bool
) -> None:
    await filled.execute(f"SET plan_cache_mode = {mode}")
    asking = Asking(filled)
    found = await listing.ids_tagged(cast(Connection, asking), ["default"], tags, after=after, limit=PAGE)
    assert (len(found) == PAGE) is many
    asking.assert_cheap()
    if many:
        assert index in indexes(asking.nodes)
        assert not sorts(asking.nodes)


@MODES
@pytest.mark.parametrize("after", ["", "empty-5"], ids=["first page", "late page"])
@pytest.mark.parametrize(
    ("value", "index"),
    [
        (hashlib.sha256(b"").hexdigest(), "objects_digest_idx"),
        (hashlib.md5(b"").hexdigest(), "checksums_value_idx"),
        (SHA1, "object_checksums_value_idx"),
    ],
)
async def test_a_lookup_by_a_checksum_that_very_many_have_reads_no_more_than_a_page(
    filled: Connection, mode: str, after: str, value: str, index: str
) -> None:
    await filled.execute(f"SET plan_cache_mode = {mode}")
    asking = Asking(filled)
    digest = bytes.fromhex(value) if len(value) == 64 else None
    found = await listing.ids_with_checksum(
        cast(Connection, asking), ["default"], value, None, digest=digest, after=after, limit=PAGE
    )
    assert len(found) == PAGE
    asking.assert_cheap(index)


def sorts(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [node for node in nodes if "Sort" in node["Node Type"]]


def indexes(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in nodes if "Index Name" in node}
