"""The service on a bucket, against what it takes by hand to have a file there and hashed."""

import asyncio
import hashlib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from s3fs import S3FileSystem

from benchmarks import load
from benchmarks.load import connected, head, random_file, request
from benchmarks.measuring import AtLeast, Row, compared, taking_turns
from benchmarks.programs import Missing, run
from benchmarks.scale import KIB, MIB, Scale
from benchmarks.servers import Server, service, workplace
from tests.support.s3 import S3Server, missing

CLIENTS = 32
SMALL = 4 * KIB
READ = 8 * MIB


def s3(scale: Scale) -> list[Row]:
    """One large file to and from S3, and many small ones to it by 32 clients."""
    if reason := missing():
        raise Missing(reason)
    with workplace() as place, S3Server.started(place / "s3") as server:
        bucket = server.bucket
        with service(place / "data", settings=settings_of(server)) as ours:
            bench = Bench(server, bucket, ours, random_file(place / "source", scale.s3_size), scale.s3_objects)
            rates = taking_turns(
                scale.rounds,
                {
                    "put by hand": bench.put_by_hand,
                    "PUT": bench.put,
                    "read by hand": bench.read_by_hand,
                    "GET": bench.get,
                    "small by hand": bench.small_by_hand,
                    "small": bench.small,
                },
            )
    size = f"{scale.s3_size // MIB} MiB"
    small = f"{scale.s3_objects:,} of 4 KiB, {CLIENTS} clients"
    return [
        compared(
            f"PUT to S3, {size}",
            ours=rates["PUT"],
            baseline=rates["put by hand"],
            unit="MB/s",
            target=AtLeast(bound=0.8),
        ),
        compared(
            f"GET from S3, {size}",
            ours=rates["GET"],
            baseline=rates["read by hand"],
            unit="MB/s",
            target=AtLeast(bound=0.8),
        ),
        compared(
            f"PUT to S3, {small}",
            ours=rates["small"],
            baseline=rates["small by hand"],
            unit="/s",
            target=AtLeast(bound=0.7),
        ),
    ]


def settings_of(server: S3Server) -> dict[str, str]:
    """Those of a service that keeps its bytes there."""
    return {"DRS_STORAGE_URL": f"s3://{server.bucket}/ours", **server.settings()}


class Bench:
    """What is measured; each writes other bytes every time, and removes them outside of the time."""

    def __init__(self, server: S3Server, bucket: str, ours: Server, source: Path, objects: int) -> None:
        self._server = server
        self._bucket = bucket
        self._ours = ours
        self._source = source
        self._size = source.stat().st_size
        self._objects = objects
        self._kept = ""
        """The id of what was sent last."""
        self._numbers = itertools.count()
        access = server.access().s3
        self._options: dict[str, Any] = {
            "endpoint_url": access.endpoint_url,
            "key": access.access_key_id,
            "secret": access.secret_access_key,
            "use_listings_cache": False,
            "skip_instance_cache": True,
        }
        self._filesystem = S3FileSystem(**self._options)

    def put_by_hand(self) -> float:
        """Hash it, and send it: what the service does beside receiving, one after the other."""
        target = f"{self._bucket}/by-hand/large"
        self._make_new()

        def by_hand() -> None:
            self._filesystem.put_file(self._source, target)
            run("openssl", "dgst", "-sha256", self._source)

        rate = self._rate(by_hand)
        self._server.client.delete_object(Bucket=self._bucket, Key="by-hand/large")
        return rate

    def put(self) -> float:
        self._forget()
        self._make_new()
        return self._rate(self._put)

    def _put(self) -> None:
        answer = run("curl", "-sS", "--fail", "-T", str(self._source), f"{self._ours.url}/upload/")
        self._kept = json.loads(answer)["id"]

    def read_by_hand(self) -> float:
        [key] = self._keys()

        def read() -> None:
            with self._filesystem.open(f"{self._bucket}/{key}", "rb", block_size=READ, cache_type="readahead") as file:
                while file.read(READ):
                    pass

        return self._rate(read)

    def get(self) -> float:
        return self._size / load.fetch(f"{self._ours.url}/data/{self._kept}", connections=1) / 1e6

    def small_by_hand(self) -> float:
        return asyncio.run(self._small_by_hand())

    async def _small_by_hand(self) -> float:
        filesystem = S3FileSystem(**self._options, asynchronous=True)
        session = await filesystem.set_session()
        left = iter(range(self._objects))

        async def client() -> None:
            for _ in left:
                content = self._new_content()
                name = hashlib.sha256(content).hexdigest()
                await filesystem._pipe_file(f"{self._bucket}/by-hand/{name}", content)

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        seconds = time.perf_counter() - began
        await session.close()
        return self._objects / seconds

    def small(self) -> float:
        left = iter(range(self._objects))
        lock = threading.Lock()

        def client() -> None:
            with connected(self._ours.url) as connection:
                while True:
                    with lock:
                        if next(left, None) is None:
                            return
                    content = self._new_content()
                    url = f"{self._ours.url}/upload/small"
                    connection.sendall(request("PUT", url, f"content-length: {SMALL}\r\n") + content)
                    status, *headers, body = head(connection)
                    if status.split()[1] != b"201":
                        raise RuntimeError(f"PUT was answered {status!r}.")
                    fields = dict(line.lower().split(b": ", 1) for line in headers)
                    missing_bytes = int(fields[b"content-length"]) - len(body)
                    while missing_bytes:
                        missing_bytes -= len(connection.recv(missing_bytes))

        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(client) for _ in range(CLIENTS)]:
                done.result()
        return self._objects / (time.perf_counter() - began)

    def _new_content(self) -> bytes:
        return os.urandom(SMALL)

    def _rate(self, work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return self._size / (time.perf_counter() - began) / 1e6

    def _make_new(self) -> None:
        with self._source.open("r+b") as file:
            file.write(next(self._numbers).to_bytes(8))

    def _keys(self) -> list[str]:
        pages = self._server.client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix="ours/sha256")
        found = [one for page in pages for one in page.get("Contents", ())]
        return [one["Key"] for one in found if one["Size"] == self._size]

    def _forget(self) -> None:
        for key in self._keys():
            self._server.client.delete_object(Bucket=self._bucket, Key=key)
