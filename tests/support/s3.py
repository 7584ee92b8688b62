"""One real S3 server for the run: Ceph, with its object store in memory, on free ports of the loopback."""

import contextlib
import secrets
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from drs_service.blobs.access import Access, S3Access
from tests.support.program import free_port

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph")
PATIENCE = 60.0
SHARED = "shared"

# Without cephx radosgw waits for ever unless it may talk to the monitor in clear; without tcp_nodelay each small answer
# takes 40 ms; what is deleted would stay in memory for two hours.
CONFIGURATION = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 0
run dir = {directory}
admin socket = {directory}/$name.asok
log file = {directory}/$name.log
crash dir = {directory}
[mon]
mon data = {directory}/mon
mon cluster log file = {directory}/cluster.log
paxos propose interval = 0.05
paxos min wait = 0.01
[osd]
osd data = {directory}/osd
osd objectstore = memstore
memstore device bytes = 8589934592
osd memory target = 939524096
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw thread pool size = 64
rgw gc obj min wait = 2
rgw gc processor period = 5
rgw gc processor max time = 5
"""


def missing() -> str:
    """Why there can be no server here, or nothing."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"{', '.join(absent)} not installed: on Debian `make servers` does it" if absent else ""


class S3Server:
    """A running server, a user of it, and a way past our drivers."""

    scheme = "s3"
    bucket = SHARED
    no_such_bucket = "NoSuchBucket"
    wrong_secret: str | None = "SignatureDoesNotMatch"
    tries = 40

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._secret = secrets.token_hex(20)
        self.url = f"http://127.0.0.1:{self._port}"
        self._access = S3Access(endpoint_url=self.url, access_key_id="drs", secret_access_key=self._secret)
        self._environment = {"CEPH_CONF": str(directory / "ceph.conf"), "PATH": "/usr/bin:/usr/sbin:/bin:/sbin"}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.client: Any = None
        """botocore's own, which blocks."""

    @classmethod
    @contextmanager
    def started(cls, directory: Path) -> Iterator["S3Server"]:
        server = cls(directory)
        try:
            server._start()
            yield server
        finally:
            server._stop()

    def access(self, *, url: str | None = None, secret: str | None = None) -> Access:
        s3 = replace(self._access, endpoint_url=url or self.url, secret_access_key=secret or self._secret)
        return Access(s3=s3)

    def settings(self) -> dict[str, str]:
        """As whoever runs the service would set them."""
        return {
            "DRS_S3_ENDPOINT_URL": self.url,
            "DRS_S3_ACCESS_KEY_ID": "drs",
            "DRS_S3_SECRET_ACCESS_KEY": self._secret,
        }

    def get(self, name: str) -> bytes | None:
        try:
            content: bytes = self.client.get_object(Bucket=SHARED, Key=name)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return content

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=SHARED, Key=name, Body=content)

    def names(self, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=SHARED, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def begun(self, prefix: str) -> list[str]:
        uploads = self.client.list_multipart_uploads(Bucket=SHARED, Prefix=prefix).get("Uploads", ())
        return [one["Key"] for one in uploads]

    def narrow_bucket(self, most_bytes: int) -> tuple[str, S3Access]:
        """One for little more than nothing, and how its owner reaches it."""
        owner = secrets.token_hex(8)
        access = self.own_bucket(owner, S3Access(access_key_id=owner, secret_access_key=owner))
        limits = ("--quota-scope", "user", "--max-size", str(most_bytes))
        self._call("radosgw-admin", "quota", "set", "--uid", owner, *limits)
        self._call("radosgw-admin", "quota", "enable", "--uid", owner, "--quota-scope", "user")
        return owner, access

    def own_bucket(self, name: str, owner: S3Access) -> S3Access:
        """A new one of a new owner with this key, and how it is reached."""
        assert owner.access_key_id is not None
        keys = keys_of(owner.access_key_id, owner.secret_access_key)
        user = ("--uid", owner.access_key_id, "--display-name", owner.access_key_id)
        self._call("radosgw-admin", "user", "create", *user, *keys)
        access = replace(owner, endpoint_url=self.url)
        client = client_for(access)
        client.create_bucket(Bucket=name)
        client.close()
        return access

    def go_away(self) -> None:
        """Stop answering; what is kept stays."""
        self._end("radosgw")

    def come_back(self) -> None:
        self._run("radosgw", "radosgw", "-n", "client.rgw")
        self._await_answer()

    def _start(self) -> None:
        for name in ("mon", "osd"):
            (self._directory / name).mkdir(parents=True)
        fsid, osd_id, mon_port = uuid.uuid4(), str(uuid.uuid4()), free_port()
        (self._directory / "ceph.conf").write_text(
            CONFIGURATION.format(fsid=fsid, directory=self._directory, port=self._port, mon_port=mon_port)
        )
        address = f"[v2:127.0.0.1:{mon_port}]"
        self._call("ceph-mon", "--mkfs", "-i", "a", "--fsid", str(fsid), "--public-addrv", address)
        self._run("mon", "ceph-mon", "-i", "a")
        self._call("ceph", "osd", "new", osd_id)
        self._call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id)
        self._run("osd", "ceph-osd", "-i", "0")
        user = ("--uid", "drs", "--display-name", "drs")
        self._call("radosgw-admin", "user", "create", *user, *keys_of("drs", self._secret))
        self.come_back()
        self.client = client_for(self._access)
        self.client.create_bucket(Bucket=SHARED)

    def _call(self, *command: str) -> None:
        subprocess.run(command, env=self._environment, capture_output=True, check=True, timeout=PATIENCE)

    def _run(self, name: str, *command: str) -> None:
        with (self._directory / f"{name}.out").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                [*command, "-f"], env=self._environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )

    def _await_answer(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline, "no answer"
                assert self._processes["radosgw"].poll() is None, f"radosgw died: see {self._directory}"
                time.sleep(0.02)

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)  # it keeps nothing anyway
        process.wait()

    def _stop(self) -> None:
        if self.client is not None:
            self.client.close()
        for name in ("radosgw", "osd", "mon"):
            with contextlib.suppress(KeyError):
                self._end(name)


def client_for(access: S3Access) -> Any:
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=access.endpoint_url,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def keys_of(user: str, secret: str | None = None) -> tuple[str, ...]:
    return ("--access-key", user, "--secret-key", secret or user)
