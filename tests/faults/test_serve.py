"""`drs-service serve` as its users meet it: started, refused, stopped, killed, and started again."""

import asyncio
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.serve import COMMAND, PATIENCE, Serve, alive, kill, serving, wait_until


@pytest.fixture
def data_dir(roomy: Path) -> Path:
    return roomy / f"data-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def shared(roomy: Path, own_environment: dict[str, str]) -> Iterator[Serve]:
    """For those who leave it as well as they have found it."""
    with serving(roomy / f"shared-{secrets.token_hex(4)}", own_environment) as service:
        yield service


@pytest.fixture
def serve(data_dir: Path, own_environment: dict[str, str]) -> Iterator[Serve]:
    with serving(data_dir, own_environment) as service:
        yield service


def put(service: Serve, content: bytes, name: str = "sample.bam") -> str:
    """The id of a new object."""
    with service.client() as client:
        answer = client.put(f"/upload/{name}", content=content)
        answer.raise_for_status()
        return str(answer.json()["id"])


def get(service: Serve, object_id: str) -> bytes:
    with service.client() as client:
        return client.get(f"/data/{object_id}").raise_for_status().content


def run(env: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_a_stopped_service_leaves_no_process_and_finds_its_data_again(
    serve: Serve, own_environment: dict[str, str]
) -> None:
    object_id = put(serve, b"kept")
    assert serve.stop() == 0
    assert not any(alive(pid) for pid in serve.family)
    with serving(serve.data_dir, own_environment) as again:
        assert get(again, object_id) == b"kept"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_finished_before_the_service_stops(serve: Serve, number: int) -> None:
    half_sent, go_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"first half, "
        half_sent.set()
        assert go_on.wait(PATIENCE)
        yield b"second half"

    answers: list[httpx.Response] = []

    def upload() -> None:
        with serve.client() as client:
            answers.append(client.put("/upload/slow.txt", content=slowly()))

    uploading = threading.Thread(target=upload)
    uploading.start()
    assert half_sent.wait(PATIENCE)
    web = serve.child("web")
    wait_until(lambda: any((serve.data_dir / "store" / "staging").glob("*/*")))
    serve.process.send_signal(number)
    wait_until(lambda: refuses(serve.url))
    assert alive(web)
    go_on.set()
    uploading.join(PATIENCE)
    assert serve.process.wait(PATIENCE) == 0
    assert [answer.status_code for answer in answers] == [201]


def accepts(url: str) -> bool:
    """Whether a new connection gets an answer."""
    try:
        return httpx.get(f"{url}/livez", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def refuses(url: str) -> bool:
    """Whether a new connection is turned away, rather than left without an answer."""
    try:
        httpx.get(f"{url}/livez", timeout=1)
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        return False
    return False


def test_a_process_that_does_not_end_is_killed(data_dir: Path, own_environment: dict[str, str]) -> None:
    with serving(data_dir, own_environment | {"DRS_SHUTDOWN_GRACE_SECONDS": "0"}) as service:
        os.kill(service.child("web"), signal.SIGSTOP)
        assert service.stop() == 0
        assert not any(alive(pid) for pid in service.family)


def test_a_data_directory_that_cannot_be_used_is_refused(own_environment: dict[str, str], data_dir: Path) -> None:
    data_dir.write_text("a file in the way")
    for place in (data_dir, data_dir / "below"):
        refused = run(own_environment, "serve", "--data-dir", str(place), "--port", "0")
        assert refused.returncode == 78
        assert str(place) in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_refuses_the_service_ends_it_at_once(
    own_environment: dict[str, str], data_dir: Path, database_url: str, command: str
) -> None:
    wrong = {"DATABASE_URL": database_url.replace("/test_", "/absent_"), "DRS_DATA_DIR": str(data_dir)}
    began = time.monotonic()
    refused = run(own_environment | wrong | {"DRS_PORT": "0"}, command)
    assert refused.returncode == 78
    assert "does not let the service in" in refused.stderr
    assert "absent_" in refused.stderr
    assert time.monotonic() - began < 10


def test_the_embedded_database_has_room_for_every_process(data_dir: Path, own_environment: dict[str, str]) -> None:
    with serving(data_dir, own_environment | {"DRS_DATABASE_POOL_SIZE": "60"}) as service:
        url = f"postgresql://postgres@/drs?host={service.data_dir / 'postgres'}&port=5432"
        assert query(url, "SHOW max_connections") == [str(62 + 62 + 20)]


def test_a_second_service_on_the_same_directory_is_refused(shared: Serve, own_environment: dict[str, str]) -> None:
    second = run(own_environment, "serve", "--data-dir", str(shared.data_dir), "--port", "0")
    assert second.returncode == 78
    assert str(shared.process.pid) in second.stderr
    assert str(shared.data_dir) in second.stderr
    assert accepts(shared.url)


@pytest.mark.parametrize("command", [["check"], ["places", "status", "--json"], ["jobs", "--json"]])
def test_its_operator_need_not_say_where_its_database_and_its_bytes_are(
    shared: Serve, own_environment: dict[str, str], command: list[str]
) -> None:
    done = run(own_environment, *command, "--data-dir", str(shared.data_dir))
    assert (done.returncode, done.stderr) == (0, "")
    elsewhere = run(own_environment, *command, "--data-dir", str(shared.data_dir / "store"))
    assert elsewhere.returncode == 78
    assert "no service runs on" in elsewhere.stderr


def test_a_worker_joins_the_service_on_a_data_directory(shared: Serve, own_environment: dict[str, str]) -> None:
    command = [*COMMAND, "worker", "--kinds", "alert", "--data-dir", str(shared.data_dir)]
    with subprocess.Popen(command, env=own_environment, stderr=subprocess.PIPE) as worker:
        wait_until(
            lambda: (
                f":{worker.pid} works, on alert"
                in run(own_environment, "worker", "--check", "--data-dir", str(shared.data_dir)).stdout
            )
        )
        worker.terminate()
        assert worker.wait(PATIENCE) == 0


def test_a_port_that_is_taken_is_refused(shared: Serve, own_environment: dict[str, str], roomy: Path) -> None:
    port = shared.url.rpartition(":")[2]
    second = run(own_environment, "serve", "--data-dir", str(roomy / "other"), "--port", port)
    assert second.returncode == 78
    assert port in second.stderr
    assert not (roomy / "other").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_that_others_reach_is_refused(own_environment: dict[str, str], roomy: Path, host: str) -> None:
    refused = run(own_environment, "serve", "--host", host, "--data-dir", str(roomy / "open"))
    assert refused.returncode == 78
    assert "no identities are configured" in refused.stderr
    assert not (roomy / "open").exists()


def test_all_faults_of_the_settings_are_told_at_once(own_environment: dict[str, str]) -> None:
    wrong = {"DRS_PORT": "many", "DRS_PROCESSES": "0", "PUBLIC_URL": "ftp://x"}
    refused = run(own_environment | wrong, "serve")
    assert refused.returncode == 78
    assert "DRS_PORT" in refused.stderr
    assert "DRS_PROCESSES" in refused.stderr


def test_a_killed_supervisor_takes_everything_with_it(serve: Serve, own_environment: dict[str, str]) -> None:
    object_id = put(serve, b"acknowledged")
    kill(serve.process.pid)
    wait_until(lambda: not any(alive(pid) for pid in serve.family))
    with serving(serve.data_dir, own_environment) as again:
        assert get(again, object_id) == b"acknowledged"


def test_everything_killed_at_once_recovers(serve: Serve, own_environment: dict[str, str]) -> None:
    object_id = put(serve, b"acknowledged")
    serve.kill()
    with serving(serve.data_dir, own_environment) as again:
        assert get(again, object_id) == b"acknowledged"


def test_a_start_right_after_a_kill_waits_for_what_is_left(serve: Serve, own_environment: dict[str, str]) -> None:
    object_id = put(serve, b"acknowledged")
    kill(serve.process.pid)
    with serving(serve.data_dir, own_environment) as again:
        assert get(again, object_id) == b"acknowledged"


def test_a_lost_database_takes_no_bytes_with_it(serve: Serve, own_environment: dict[str, str]) -> None:
    put(serve, b"kept")
    assert serve.stop() == 0
    shutil.rmtree(serve.data_dir / "postgres")
    refused = run(own_environment, "serve", "--data-dir", str(serve.data_dir), "--port", "0")
    assert refused.returncode == 78
    assert "The storage belongs to another database" in refused.stderr
    [blob] = (serve.data_dir / "store" / "sha256").glob("*/*/*")
    assert blob.read_bytes() == b"kept"


@pytest.mark.parametrize("role", ["web", "worker"])
def test_a_child_that_is_killed_is_started_again(shared: Serve, role: str) -> None:
    object_id = put(shared, b"kept")
    killed = shared.child(role)
    kill(killed)
    wait_until(lambda: not alive(killed))
    wait_until(lambda: accepts(shared.url))
    wait_until(lambda: any_child(shared, role) not in {None, killed})
    assert get(shared, object_id) == b"kept"


def any_child(serve: Serve, role: str) -> int | None:
    try:
        return serve.child(role)
    except StopIteration:
        return None


def test_postgres_that_is_killed_is_started_again(shared: Serve) -> None:
    object_id = put(shared, b"kept")
    postmaster = int((shared.data_dir / "postgres" / "18" / "postmaster.pid").read_text().split()[0])
    kill(postmaster)
    wait_until(lambda: readable(shared, object_id))
    assert put(shared, b"after")


def readable(serve: Serve, object_id: str) -> bool:
    with serve.client() as client:
        return client.get("/readyz").status_code == 200 and client.get(f"/data/{object_id}").status_code == 200


def test_processes_share_one_address(data_dir: Path, own_environment: dict[str, str]) -> None:
    with serving(data_dir, own_environment, "--processes", "2") as service:
        content = secrets.token_bytes(100_000)
        object_id = put(service, content)
        asked = count(1)

        def both_have_answered() -> bool:
            next(asked)
            assert get(service, object_id) == content
            return downloads(service).keys() == {"1", "2"}

        # Whichever of them is asked tells what both have counted; which is asked, nobody says.
        wait_until(both_have_answered)
        most = next(asked) - 1
        wait_until(lambda: sum(downloads(service).values()) == most)
        assert service.stop() == 0


def downloads(service: Serve) -> dict[str, float]:
    """How many each web process has answered."""
    with service.client() as client:
        text = client.get("/metrics").raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        one.labels["process"]: one.value
        for one in samples
        if one.name == "drs_http_request_duration_seconds_count" and one.labels["route"] == "/data/{object_id}"
    }


def test_uploads_cut_off_by_a_kill_are_whole_or_gone(serve: Serve, own_environment: dict[str, str]) -> None:
    """kill -9 during 50 uploads at once: what was acknowledged is there, and a restart leaves no rubbish."""
    acknowledged: dict[str, str] = {}
    threads = [threading.Thread(target=upload_until_killed, args=[serve, acknowledged]) for _ in range(50)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) >= 20)
    serve.kill()
    for thread in threads:
        thread.join(PATIENCE)
    with serving(serve.data_dir, own_environment) as again:
        for object_id, digest in acknowledged.items():
            assert hashlib.sha256(get(again, object_id)).hexdigest() == digest
        # Objects that were stored without their sender hearing of it are no rubbish: they have a row.
        wait_until(lambda: rubbish(again) == [])


def upload_until_killed(serve: Serve, acknowledged: dict[str, str]) -> None:
    try:
        while True:
            content = secrets.token_bytes(secrets.randbelow(2_000_000))
            acknowledged[put(serve, content)] = hashlib.sha256(content).hexdigest()
    except httpx.TransportError:
        return
    except httpx.HTTPStatusError as error:
        # PostgreSQL may be killed a moment before the web process: that is a refusal, not an acknowledgement.
        assert error.response.status_code == 503


def rubbish(serve: Serve) -> list[str]:
    """Files of the store that nothing refers to."""
    store = serve.data_dir / "store"
    staged = [str(path) for path in (store / "staging").glob("*/*")]
    sql = "SELECT encode(digest, 'hex') FROM blobs JOIN objects USING (digest)"
    url = f"postgresql://postgres@/drs?host={serve.data_dir / 'postgres'}&port=5432"
    known = set(query(url, sql))
    return staged + [str(path) for path in (store / "sha256").glob("*/*/*") if path.name not in known]


def query(url: str, sql: str) -> list[str]:
    async def fetch() -> list[str]:
        connection = await asyncpg.connect(url)
        try:
            return [row[0] for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    return asyncio.run(fetch())
