import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drs_service.blobs.spool import Room, Spool
from drs_service.errors import StorageUnavailable

MIB = 1024**2
ANSWERS = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ANSWERS
@given(st.lists(st.tuples(st.integers(0, 2), st.binary(min_size=1, max_size=60))), st.integers(0, 200))
async def test_what_was_written_is_read_wherever_it_waited(written: list[tuple[int, bytes]], most: int) -> None:
    room = Room(most)
    spools = [Spool(room) for _ in range(3)]
    expected = [bytearray() for _ in spools]
    for number, chunk in written:
        await spools[number].write(chunk)
        expected[number] += chunk
        assert await spools[number].content() == expected[number]
    assert [spool.size for spool in spools] == [len(one) for one in expected]
    for spool in spools:
        spool.clear()
        assert (spool.size, await spool.content()) == (0, b"")
    assert room.take(most), "all of the room is there again"


async def test_what_there_is_no_room_for_waits_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    room = Room(10)
    spool = Spool(room)
    await spool.write(bytes(8))
    await spool.write(b"1" * 8)
    await spool.write(b"2")  # there would be room, but not behind the others
    assert room.take(2)
    assert await spool.content() == bytes(8) + b"1" * 8 + b"2"
    assert list(tmp_path.iterdir()) == []
    spool.clear()
    await spool.write(b"3")
    assert await spool.content() == b"3"


async def test_a_full_disk_of_temporary_files_is_told_and_holds_nobody_up_afterwards() -> None:
    spool = Spool(Room(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        with pytest.raises(StorageUnavailable):
            await spool.write(bytes(2 * MIB))
        spool.clear()
        await spool.write(b"short")
        assert await spool.content() == b"short"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        spool.clear()
