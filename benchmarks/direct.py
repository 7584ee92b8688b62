"""A large file that goes past the service into a bucket: what the service spends on it."""

import json
import os
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.load import connected, head, random_file, request
from benchmarks.measuring import AtMost, Row, limited
from benchmarks.memory import ours_of
from benchmarks.programs import Missing
from benchmarks.s3 import settings_of
from benchmarks.scale import MIB, Scale
from benchmarks.servers import Server, service, workplace
from tests.support.s3 import S3Server, missing

SENDERS = 4
TICKS = os.sysconf("SC_CLK_TCK")


def direct(scale: Scale) -> list[Row]:
    """One file by parts to their signed URLs, until it is complete: processor time of the web process meanwhile."""
    if reason := missing():
        raise Missing(reason)
    with workplace() as place, S3Server.started(place / "s3") as server:
        settings = settings_of(server) | {"DRS_FINISH_AT_ONCE_BYTES": "0"}
        with service(place / "data", settings=settings) as ours:
            source = random_file(place / "source", scale.s3_size)
            web = [pid for pid in ours_of(ours.pid) if b"\0web\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            shares = [share(ours, web, source) for _ in range(scale.rounds)]
    what = f"{scale.s3_size // MIB} MiB past the service: its processor time of the time they take"
    return [limited(what, shares, unit="%", target=AtMost(bound=1.0))]


def share(server: Server, web: Sequence[int], source: Path) -> float:
    """Percent."""
    size = source.stat().st_size
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(size)}
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/tus", method="POST", headers=headers)) as answer:
        upload = f"{server.url}{urlsplit(answer.headers['location']).path}".replace("/tus/", "/uploads/")
    began, spent = time.perf_counter(), processor_time(web)
    first = asked(f"{upload}/parts", {"numbers": [1]})
    rest = (
        asked(f"{upload}/parts", {"numbers": list(range(2, first["count"] + 1))})["parts"] if first["count"] > 1 else []
    )
    with ThreadPoolExecutor(SENDERS) as pool:
        for done in [pool.submit(bring, source, first["part_size"], part) for part in [*first["parts"], *rest]]:
            done.result()
    asked(f"{upload}/complete", None)
    return 100 * (processor_time(web) - spent) / (time.perf_counter() - began)


def asked(url: str, body: object) -> Any:
    data = b"" if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data=data, method="POST", headers=kind)) as answer:
        return json.load(answer)


def bring(source: Path, part_size: int, part: dict[str, Any]) -> None:
    with connected(part["url"]) as connection, source.open("rb") as file:
        connection.sendall(request("PUT", part["url"], f"content-length: {part['size']}\r\n"))
        connection.sendfile(file, (part["number"] - 1) * part_size, part["size"])
        status, *_ = head(connection)
        if status.split()[1] != b"200":
            raise RuntimeError(f"A part was answered {status!r}.")


def processor_time(pids: Sequence[int]) -> float:
    """Seconds."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS
