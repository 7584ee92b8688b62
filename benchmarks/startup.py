"""How long `drs-service serve` takes until it is ready."""

import http.client
import time
from pathlib import Path

from benchmarks.measuring import AtMost, Row, limited
from benchmarks.scale import Scale
from benchmarks.servers import free_port, service_process, workplace

PATIENCE = 60.0  # seconds


def startup(scale: Scale) -> list[Row]:
    """From exec to the first 200 of /readyz: on an empty data directory, and on one that has been served before."""
    cold, warm = [], []
    for _ in range(scale.rounds):
        with workplace() as place:
            cold.append(ready_after(place / "data"))
            warm.append(ready_after(place / "data"))
    return [
        limited("startup, empty data directory", cold, unit="s", target=AtMost(bound=5)),
        limited("startup, data directory used before", warm, unit="s", target=AtMost(bound=2)),
    ]


def ready_after(directory: Path) -> float:
    port = free_port()
    began = time.perf_counter()
    with service_process(directory, port=port):
        while not is_ready(port):
            if time.perf_counter() - began > PATIENCE:
                raise RuntimeError("The service does not get ready.")
            time.sleep(0.01)
        return time.perf_counter() - began


def is_ready(port: int) -> bool:
    """The socket listens long before anybody answers on it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
