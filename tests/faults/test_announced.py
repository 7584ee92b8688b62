"""kill -9 while announced bytes come: they can be sent again."""

import hashlib
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.support.serve import PATIENCE, Serve, serving, wait_until

DRS = "/ga4gh/drs/v1"


def test_an_upload_cut_off_by_a_kill_can_be_sent_again(roomy: Path, own_environment: dict[str, str]) -> None:
    data_dir = roomy / f"data-{secrets.token_hex(4)}"
    content = secrets.token_bytes(3_000_000)
    with serving(data_dir, own_environment) as service:
        path = announced(service, content)
        killed = threading.Event()
        sending = threading.Thread(target=send_half, args=[service, path, content, killed])
        sending.start()
        wait_until(lambda: any(file.stat().st_size for file in staged(service)))
        service.kill()
        killed.set()
        sending.join(PATIENCE)
    with serving(data_dir, own_environment) as again, again.client() as client:
        assert not registered(again, client, path)
        wait_until(lambda: not staged(again))
        client.put(path, content=content).raise_for_status()
        [drs_object] = registered(again, client, path)
        assert client.get(f"/data/{drs_object['id']}").content == content


def announced(service: Serve, content: bytes) -> str:
    """The path of a new upload of content."""
    checksum = {"checksum": hashlib.sha256(content).hexdigest(), "type": "sha-256"}
    file = {"name": "a.bam", "size": len(content), "mime_type": "text/plain", "checksums": [checksum]}
    with service.client() as client:
        answer = client.post(f"{DRS}/upload-request", json={"requests": [file]}).raise_for_status().json()
    url: str = answer["responses"][0]["upload_methods"][0]["access_url"]["url"]
    return url.removeprefix(service.url)


def send_half(service: Serve, path: str, content: bytes, killed: threading.Event) -> None:
    def half() -> Iterator[bytes]:
        yield content[: len(content) // 2]
        assert killed.wait(PATIENCE)
        yield content[len(content) // 2 :]

    try:
        with service.client() as client:
            client.put(path, content=half())
    except httpx.TransportError:
        return
    raise AssertionError("It was answered.")


def staged(service: Serve) -> list[Path]:
    return [path for path in (service.data_dir / "store" / "staging").glob("*/*") if path.is_file()]


def registered(service: Serve, client: httpx.Client, path: str) -> list[dict[str, str]]:
    """The object that was made of the upload, if it could be."""
    candidate = {"access_methods": [{"type": "https", "access_url": {"url": service.url + path}}]}
    answer = client.post(f"{DRS}/objects/register", json={"candidates": [candidate]})
    assert answer.status_code in {201, 400}, answer.text
    return list(answer.json().get("objects", []))
