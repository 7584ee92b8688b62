"""The schema belongs to the migrations: they go up, down and up again, and leave what the code was written for."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from drs_service.blobs.store import BlobStore
from drs_service.db import changes, migrate, schema
from drs_service.db.pool import Connection, open_database
from drs_service.domain.access import ANONYMOUS
from drs_service.errors import MigrationFailed, SchemaAhead, SchemaBehind
from drs_service.parts import check_store
from drs_service.usecases.objects import Objects
from drs_service.usecases.sweep import Sweep
from drs_service.usecases.uploads import Uploads
from tests.db.conftest import connected
from tests.support.deadline import until
from tests.support.postgres import Postgres
from tests.support.rows import digest_of, digest_of_bytes, incoming

EXTERNAL = "20261121000090"
BOUNDED_HISTORY = "20261121000140"
MIGRATIONS = Path(__file__).parents[2] / "db" / "migrations"

# Everything that migrations can make, as Postgres itself describes it.
CATALOG = """
    SELECT 'column', format('%s.%s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod)),
        format('%s null:%s default:%s', attnum, NOT attnotnull, pg_get_expr(adbin, adrelid))
    FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
    WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v'))
        AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT 'relation', relname, relkind::text || coalesce(obj_description(oid, 'pg_class'), '')
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'constraint', conname || ' ' || conrelid::regclass, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid)
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'function', proname, pg_get_functiondef(oid)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'enum', enumtypid::regtype::text, enumlabel FROM pg_enum
    UNION ALL SELECT 'principal', id, kind FROM principals
    UNION ALL SELECT 'space', id, '' FROM spaces
    ORDER BY 1, 2, 3
"""

CHECKS = """
    SELECT conname FROM pg_constraint
    WHERE contype = 'c' AND connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'pgqueuer%'
"""

OBJECT = "INSERT INTO objects (id, digest, size, name, file_name, media_type) VALUES ({}, sha256('a'), 1, {}, {}, {})"
CHECKSUM = "INSERT INTO checksums (digest, algorithm, value) VALUES (sha256('a'), {}, {})"
MEMBER = "INSERT INTO members (bundle_id, position, name, member_id) VALUES ('there', {}, {}, {})"
REPLICA = "INSERT INTO replicas (digest, place, key) VALUES (sha256('a'), {}, {})"
ADOPTED = """
    INSERT INTO adopted_files (adoption, place, path, size, stamp, state, problem) VALUES (1, 'p', 'a', 1, 's', {}, {})
"""


KEY = "INSERT INTO session_keys (hash, session_id, kind) VALUES ({}, 'a234567890123456', {})"


def a_session(id: str = "'b234567890123456'", **columns: str) -> str:
    values = {
        **dict(id=id, owner_id="'anonymous'", space_id="'default'", idle_seconds="1"),
        **dict(join_by="now()", expires_at="now()"),
        **columns,
    }
    return f"INSERT INTO sessions ({', '.join(values)}) VALUES ({', '.join(values.values())})"


def an_object(id: str = "'one'", name: str = "'n'", file_name: str = "'n'", media_type: str = "'a/b'") -> str:
    return OBJECT.format(id, name, file_name, media_type)


def an_upload(**columns: str) -> str:
    values = {
        **dict(id="'u'", owner_id="'anonymous'", space_id="'default'", name="'n'", file_name="'n'"),
        **dict(media_type="'a/b'", size="1", checksums="'{}'", expires_at="now()"),
        **columns,
    }
    return f"INSERT INTO uploads ({', '.join(values)}) VALUES ({', '.join(values.values())})"


REFUSED = [
    ("principals_id_shape", "INSERT INTO principals VALUES ('', 'user')"),
    ("principals_id_shape", "INSERT INTO principals VALUES ('a b', 'user')"),
    ("principals_kind_known", "INSERT INTO principals VALUES ('one', 'king')"),
    ("spaces_id_shape", "INSERT INTO spaces VALUES ('a/b')"),
    ("service_one_row", "INSERT INTO service VALUES (gen_random_uuid())"),
    ("blobs_digest_length", "INSERT INTO blobs VALUES ('\\x00', 1)"),
    ("blobs_digest_length", "INSERT INTO blobs VALUES (sha512('a'), 1)"),
    ("blobs_size_not_negative", "INSERT INTO blobs VALUES (sha256('b'), -1)"),
    ("blobs_pkey", "INSERT INTO blobs VALUES (sha256('a'), 1)"),
    ("checksums_algorithm_shape", CHECKSUM.format("'MD5'", "'00'")),
    ("checksums_algorithm_shape", CHECKSUM.format("'sha-256'", "'00'")),
    ("checksums_algorithm_shape", CHECKSUM.format("''", "'00'")),
    ("checksums_value_hex", CHECKSUM.format("'md5'", "'0'")),
    ("checksums_value_hex", CHECKSUM.format("'md5'", "'0A'")),
    ("checksums_value_hex", CHECKSUM.format("'md5'", "''")),
    ("checksums_value_hex", CHECKSUM.format("'md5'", "repeat('00', 65)")),
    ("checksums_digest_fkey", "INSERT INTO checksums VALUES (sha256('b'), 'md5', '00')"),
    ("drains_place_shape", "INSERT INTO drains (place) VALUES ('A')"),
    ("replicas_place_shape", REPLICA.format("'A'", "'k'")),
    ("replicas_key_not_empty", REPLICA.format("'primary'", "''")),
    (
        "replicas_damage_has_a_time",
        "INSERT INTO replicas (digest, place, key, damage) VALUES (sha256('a'), 'p', 'k', 'missing')",
    ),
    (
        "replicas_damage_has_a_time",
        "INSERT INTO replicas (digest, place, key, damaged_at) VALUES (sha256('a'), 'p', 'k', now())",
    ),
    (
        "replicas_archived_or_restored",
        "INSERT INTO replicas (digest, place, key, archived_at, restored_until) "
        "VALUES (sha256('a'), 'p', 'k', now(), now())",
    ),
    ("replicas_digest_fkey", "INSERT INTO replicas VALUES (sha256('b'), 'primary', 'k')"),
    ("replicas_good_key_unique", "INSERT INTO replicas VALUES (sha256('c'), 'there', 'taken')"),
    (
        "replicas_stamp_not_empty",
        "INSERT INTO replicas (digest, place, key, stamp) VALUES (sha256('a'), 'p', 'k', '')",
    ),
    (
        "adoptions_tags_map",
        "INSERT INTO adoptions (place, below, copying, owner_id, space_id, tags) "
        "VALUES ('p', '', false, 'anonymous', 'default', '[]')",
    ),
    ("adopted_files_state_known", ADOPTED.format("'lost'", "NULL")),
    ("adopted_files_problem_of_failed", ADOPTED.format("'failed'", "NULL")),
    ("adopted_files_problem_of_failed", ADOPTED.format("'found'", "'gone'")),
    ("adopted_files_adopted_as", ADOPTED.format("'adopted'", "NULL")),
    ("restores_bytes_not_negative", "INSERT INTO restores VALUES (sha256('a'), 'p', -1)"),
    ("objects_id_shape", an_object(id="''")),
    ("objects_id_shape", an_object(id="'a/b'")),
    ("objects_id_shape", an_object(id="E'a\\n'")),
    ("objects_id_shape", an_object(id="repeat('a', 129)")),
    *(
        ("objects_name_portable", an_object(name=name))
        for name in ("''", "'.'", "'..'", "'-rf'", "'a/b'", "'a b'", "'ä'", "E'a\\n'", "repeat('a', 256)")
    ),
    ("objects_file_name_length", an_object(file_name="''")),
    ("objects_file_name_length", an_object(file_name="repeat('ä', 256)")),
    ("objects_media_type_length", an_object(media_type="''")),
    ("objects_media_type_length", an_object(media_type="repeat('a', 256)")),
    ("objects_digest_fkey", "UPDATE objects SET digest = sha256('b')"),
    ("objects_digest_fkey", "DELETE FROM blobs WHERE digest = sha256('a')"),
    ("objects_owner_id_fkey", "UPDATE objects SET owner_id = 'nobody'"),
    ("objects_space_id_fkey", "UPDATE objects SET space_id = 'nowhere'"),
    ("objects_pkey", an_object(id="'there'")),
    ("objects_kind_known", "UPDATE objects SET kind = 'other', digest = NULL"),
    ("objects_digest_of_blobs", "UPDATE objects SET digest = NULL"),
    ("objects_digest_of_blobs", "UPDATE objects SET kind = 'bundle', entries = 1"),
    ("objects_digest_of_blobs", "UPDATE objects SET deleted_time = now()"),
    ("objects_size_not_negative", "UPDATE objects SET size = -1"),
    ("objects_entries_of_bundles", "UPDATE objects SET entries = 1"),
    ("objects_entries_of_bundles", "UPDATE objects SET kind = 'bundle', digest = NULL"),
    ("objects_entries_of_bundles", "UPDATE objects SET kind = 'bundle', digest = NULL, entries = -1"),
    ("objects_media_type_unless_bundle", "UPDATE objects SET media_type = NULL"),
    ("objects_access_methods_list", "UPDATE objects SET access_methods = '{}'"),
    ("objects_external_access", "UPDATE objects SET kind = 'external', digest = NULL"),
    ("objects_verifying_external", "UPDATE objects SET verifying = true"),
    ("objects_deleted_reason_length", "UPDATE objects SET deleted_reason = 'no'"),
    (
        "objects_deleted_reason_length",
        "UPDATE objects SET deleted_reason = '', deleted_time = now(), digest = NULL",
    ),
    ("objects_description_length", "UPDATE objects SET description = ''"),
    ("objects_version_length", "UPDATE objects SET version = repeat('a', 256)"),
    ("object_checksums_algorithm_shape", "INSERT INTO object_checksums VALUES ('there', 'MD5', '00')"),
    ("object_checksums_value_shape", "INSERT INTO object_checksums VALUES ('there', 'md5', 'a b')"),
    ("object_checksums_object_id_fkey", "INSERT INTO object_checksums VALUES ('not there', 'md5', '00')"),
    ("tags_key_length", "INSERT INTO tags VALUES ('there', '', 'a')"),
    ("tags_value_length", "INSERT INTO tags VALUES ('there', 'a', repeat('a', 1025))"),
    ("tags_object_id_fkey", "INSERT INTO tags VALUES ('not there', 'a', 'a')"),
    ("job_notes_done_check", "UPDATE job_notes SET done = -1"),
    ("job_notes_total_check", "UPDATE job_notes SET total = -1"),
    ("members_position_not_negative", MEMBER.format(-1, "'a'", "'b'")),
    ("members_name_portable", MEMBER.format(1, "'a/b'", "'b'")),
    ("members_here_or_elsewhere", MEMBER.format(1, "'a'", "NULL")),
    ("members_not_itself", MEMBER.format(1, "'a'", "'there'")),
    ("uploads_received_within", an_upload(size="-1")),
    ("uploads_announced_with_size", an_upload(size="NULL")),
    ("uploads_tags_map", an_upload(tags="'[]'")),
    ("uploads_purpose_known", an_upload(purpose="'other'")),
    ("uploads_received_within", an_upload(purpose="'object'", received="2")),
    ("uploads_received_within", an_upload(purpose="'object'", received="-1", size="NULL")),
    ("uploads_object_of_objects", an_upload(object_id="'there'")),
    ("uploads_promised_of_objects", an_upload(promised_id="'there'")),
    ("uploads_finishing_once", an_upload(finishing="true", failed="'wrong'")),
    ("uploads_checksums_map", an_upload(checksums="'[]'")),
    (
        "idempotency_keys_key_length",
        "INSERT INTO idempotency_keys (principal_id, key, request_digest, object_ids) "
        "VALUES ('anonymous', '', '', '{}')",
    ),
    ("aliases_alias_length", "INSERT INTO aliases VALUES ('there', '')"),
    ("aliases_alias_length", "INSERT INTO aliases VALUES ('there', repeat('a', 256))"),
    ("aliases_object_id_fkey", "INSERT INTO aliases VALUES ('not there', 'a')"),
    ("nodes_address_length", "INSERT INTO nodes VALUES ('n', '')"),
    ("sessions_id_shape", a_session(id="'-234567890123456'")),
    ("sessions_id_shape", a_session(id="'a'")),
    ("sessions_state_known", a_session(state="'lost'")),
    ("sessions_reason_known", a_session(state="'ended'", reason="'bored'")),
    ("sessions_reason_of_ending", a_session(reason="'idle'")),
    ("sessions_reason_of_ending", a_session(state="'ended'")),
    ("sessions_epoch_of_joined", a_session(epoch="-1")),
    ("sessions_epoch_of_joined", a_session(epoch="1")),
    ("sessions_epoch_of_joined", a_session(joined_at="now()")),
    ("sessions_node_of_live", a_session(node_id="'n'")),
    (
        "sessions_node_of_live",
        a_session(node_id="'n'", epoch="1", joined_at="now()", state="'ended'", reason="'idle'"),
    ),
    ("sessions_node_id_fkey", a_session(node_id="'n'", epoch="1", joined_at="now()", state="'connected'")),
    ("sessions_running_not_negative", a_session(running="-1")),
    ("sessions_idle_positive", a_session(idle_seconds="0")),
    ("session_keys_hash_length", KEY.format("'a'", "'link'")),
    ("session_keys_kind_known", KEY.format("sha256('a')", "'other'")),
    ("session_keys_link_of_visits", KEY.format("sha256('a')", "'visit'")),
    ("session_keys_session_id_fkey", KEY.format("sha256('a')", "'link'")),
    ("node_calls_hash_length", "INSERT INTO node_calls VALUES ('a', 'n', '', now())"),
    ("node_calls_to_node_fkey", "INSERT INTO node_calls VALUES (sha256('a'), 'n', '', now())"),
    ("aliases_pkey", "INSERT INTO aliases VALUES ('there', 'taken')"),
    ("checksums_pkey", CHECKSUM.format("'crc32c'", "'00'")),
    ("replicas_pkey", REPLICA.format("'there'", "'other'")),
]


def dbmate(url: str, *arguments: str) -> None:
    """What an operator types."""
    command = [migrate.binary(), "--migrations-dir", str(MIGRATIONS), "--no-dump-schema", *arguments]
    env = {"DATABASE_URL": f"{url}&sslmode=disable"}
    subprocess.run(command, env=env, cwd="/", check=True, capture_output=True)


async def catalog(url: str) -> list[tuple[str, ...]]:
    async with connected(url) as connection:
        return [tuple(row) for row in await connection.fetch(CATALOG)]


async def test_down_takes_everything_away_and_up_brings_the_same_back(empty_database_url: str) -> None:
    await asyncio.to_thread(migrate.migrate, empty_database_url)
    before = await catalog(empty_database_url)
    for _ in schema.expected():
        dbmate(empty_database_url, "rollback")
    async with connected(empty_database_url) as connection:
        left = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert {row["relname"] for row in left} == {"schema_migrations", "schema_migrations_pkey"}
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == 0
        )
        types = "SELECT count(*) FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'"
        assert await connection.fetchval(types) == 0
    await asyncio.to_thread(migrate.migrate, empty_database_url)
    assert await catalog(empty_database_url) == before


async def test_files_of_others_are_not_forgotten_on_the_way_down(database_url: str) -> None:
    adopted = "INSERT INTO blobs VALUES (sha256('a'), 1); INSERT INTO replicas VALUES (sha256('a'), 'archive', 'a.bam')"
    await administer(database_url, f"{adopted}; UPDATE replicas SET stamp = '1-1'")
    for _ in filter(lambda version: version > EXTERNAL, schema.expected()):
        dbmate(database_url, "rollback")
    with pytest.raises(subprocess.CalledProcessError) as raised:
        dbmate(database_url, "rollback")
    assert b"there are copies in external places" in raised.value.stderr
    async with connected(database_url) as connection:
        assert await connection.fetchval("SELECT key FROM replicas") == "a.bam"
        await connection.execute("DELETE FROM replicas")
    dbmate(database_url, "rollback")


async def test_a_history_that_has_grown_long_is_cut_and_goes_on(database_url: str) -> None:
    for _ in filter(lambda version: version >= BOUNDED_HISTORY, schema.expected()):
        dbmate(database_url, "rollback")
    ids = ["a234567890123456", "b234567890123456"]
    flap = (
        "UPDATE sessions SET state = CASE state WHEN 'created' THEN 'idle' WHEN 'idle' THEN 'connected' ELSE 'idle' END"
    )
    numbers = "SELECT array_agg(number ORDER BY number) FROM session_history WHERE session_id = $1"
    async with connected(database_url) as connection:
        for one in ids:
            await connection.execute(a_session(id=f"'{one}'"))
        for _ in range(119):
            await connection.execute(flap)
        await connection.execute("DELETE FROM session_history WHERE session_id = $1 AND number > 100", ids[1])
        last = "SELECT after FROM session_history WHERE session_id = $1 ORDER BY number DESC LIMIT 1"
        await asyncio.to_thread(migrate.migrate, database_url)
        assert await connection.fetchval(numbers, ids[0]) == [*range(1, 11), *range(31, 121)]
        assert await connection.fetchval(numbers, ids[1]) == [*range(1, 51)]
        assert await connection.fetchval(last, ids[0]) == await connection.fetchval(
            "SELECT state FROM sessions LIMIT 1"
        )
        await connection.execute(flap)
        assert (await connection.fetchval(numbers, ids[0]))[9:11] == [10, 32]


async def test_an_operators_dbmate_makes_the_same_schema(empty_database_url: str, database_url: str) -> None:
    dbmate(empty_database_url, "up")
    assert await catalog(empty_database_url) == await catalog(database_url)


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    before = await catalog(database_url)
    await asyncio.to_thread(migrate.migrate, database_url)
    assert await catalog(database_url) == before


async def test_several_may_migrate_at_once(empty_database_url: str, database_url: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(migrate.migrate, empty_database_url) for _ in range(4)))
    assert await catalog(empty_database_url) == await catalog(database_url)


def test_a_migration_that_cannot_be_applied_says_why(database_url: str) -> None:
    asyncio.run(administer(database_url, "DELETE FROM schema_migrations"))
    with pytest.raises(MigrationFailed, match='relation "principals" already exists'):
        migrate.migrate(database_url)


async def test_the_schema_of_this_code_is_right(connection: Connection) -> None:
    await schema.check(connection)


async def test_a_schema_without_our_last_migration_is_behind(connection: Connection) -> None:
    last = max(schema.expected())
    await connection.execute("DELETE FROM schema_migrations WHERE version = $1", last)
    with pytest.raises(SchemaBehind) as raised:
        await schema.check(connection)
    assert raised.value.facts == {"missing": [last]}


async def test_a_database_that_was_never_migrated_is_behind(empty_database_url: str) -> None:
    async with connected(empty_database_url) as connection:
        with pytest.raises(SchemaBehind):
            await schema.check(connection)


async def test_a_schema_with_a_migration_we_do_not_know_is_ahead(connection: Connection) -> None:
    await connection.execute("INSERT INTO schema_migrations VALUES ('99990101000000')")
    with pytest.raises(SchemaAhead) as raised:
        await schema.check(connection)
    assert raised.value.facts == {"unknown": ["99990101000000"]}


def test_the_queue_finds_its_tables_as_it_wants_them(database_url: str) -> None:
    command = [str(Path(sys.executable).with_name("pgq")), "--pg-dsn", database_url, "verify", "--expect", "present"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def populated_url(postgres: Postgres) -> Iterator[str]:
    """A database for all that is refused: it stays as it is."""
    rows = [
        "INSERT INTO blobs VALUES (sha256('a'), 1), (sha256('c'), 1)",
        an_object(id="'there'"),
        "INSERT INTO replicas VALUES (sha256('a'), 'there', 'taken')",
        "INSERT INTO checksums VALUES (sha256('a'), 'crc32c', '00')",
        "INSERT INTO aliases VALUES ('there', 'taken')",
        "INSERT INTO pgqueuer (id, priority, status, entrypoint) VALUES (1, 0, 'queued', 'tidy')",
        "INSERT INTO job_notes (job_id, done, total) VALUES (1, 1, 1)",
    ]
    with postgres.database() as url:
        asyncio.run(administer(url, ";".join(rows)))
        yield url


@pytest.mark.parametrize(("constraint", "statement"), REFUSED)
async def test_a_bad_row_is_refused_by_a_constraint_with_a_name(
    populated_url: str, constraint: str, statement: str
) -> None:
    async with connected(populated_url) as connection:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as raised:
            await connection.execute(statement)
    assert raised.value.constraint_name == constraint


async def test_every_check_of_ours_has_a_row_that_it_refuses(connection: Connection) -> None:
    checks = {row["conname"] for row in await connection.fetch(CHECKS)}
    assert checks <= {constraint for constraint, _ in REFUSED}


@pytest.fixture
def role(postgres: Postgres, database_url: str) -> Iterator[str]:
    """The URL of a role that may only read and write rows."""
    name = f"service_{os.urandom(4).hex()}"
    asyncio.run(administer(database_url, GRANTS.format(name=name)))
    yield database_url.replace("postgres@", f"{name}@", 1)
    asyncio.run(administer(database_url, f"DROP OWNED BY {name}; DROP ROLE {name}"))


GRANTS = """
    CREATE ROLE {name} LOGIN NOSUPERUSER;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name};
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name};
"""


async def administer(url: str, statements: str) -> None:
    async with connected(url) as connection:
        await connection.execute(statements)


async def test_the_service_needs_no_right_to_change_the_schema(role: str, store: BlobStore) -> None:
    async with open_database(role, name="drs-service tests", size=3, statement_cache=100) as database:
        objects: Objects[str] = Objects(database, face=lambda one: one.name, keep=10)
        listening = asyncio.create_task(changes.listen(role, objects.changes, new_node=lambda: 1))
        await check_store(database, store)
        sweep = Sweep(database, store)
        kept = await Uploads(database, store, sweep).put(ANONYMOUS, incoming(b"content"))
        assert (await objects.get(ANONYMOUS, kept.id)).object == kept
        assert not await sweep.forget(digest_of(kept))
        assert await sweep.forget(digest_of_bytes(b"nobody's"))
        await until(lambda: objects.changes.changes_heard > 0)
        async with database.connection() as connection:
            await schema.check(connection)
            await connection.execute("DELETE FROM objects")
            for refused in ("CREATE TABLE t ()", "ALTER TABLE blobs ADD c int", "DROP TABLE objects"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(refused)
        listening.cancel()
        await asyncio.wait([listening])
