"""tus in large chunks, against our own PUT and against the tus servers of other people."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.load import random_file, send_tus
from benchmarks.measuring import AtLeast, Row, compared, taking_turns
from benchmarks.programs import completed, program, run
from benchmarks.scale import MIB, Scale
from benchmarks.servers import free_port, running, service, until_open, workplace
from benchmarks.uploads import Source, put

CHUNK = 64 * MIB
NODE = ["@tus/server@2.4.5", "@tus/file-store@2.1.1"]
PYTHON = ["tuspyserver==4.4.3", "fastapi", "uvicorn[standard]"]

NODE_SERVER = """
import {Server} from '@tus/server'
import {FileStore} from '@tus/file-store'
const [port, directory] = process.argv.slice(2)
new Server({path: '/files', datastore: new FileStore({directory})}).listen({host: '127.0.0.1', port: Number(port)})
"""
PYTHON_SERVER = """
import sys, uvicorn
from fastapi import FastAPI
from tuspyserver import create_tus_router
port, directory = sys.argv[1:]
app = FastAPI()
app.include_router(create_tus_router(files_dir=directory, prefix="files", max_size=2**40))
uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
"""


@dataclass(frozen=True, slots=True)
class Peer:
    url: str
    """Where uploads are created."""
    files: Path


def resumable(scale: Scale) -> list[Row]:
    """One client sends a large file by tus, in chunks of 64 MiB."""
    with (
        workplace() as place,
        node_peer(place / "node") as node,
        python_peer(place / "python") as python,
        service(place / "data") as ours,
    ):
        source = Source(random_file(place / "source", scale.file_size))
        blobs = place / "data" / "store" / "sha256"
        rates = taking_turns(
            scale.rounds,
            {
                "PUT": lambda: source.rate(lambda: put(source.path, ours), kept_in=blobs),
                "tus": lambda: source.rate(partial(send_tus, f"{ours.url}/tus", source.path, CHUNK), kept_in=blobs),
                "@tus/server": lambda: source.rate(lambda: by_peer(source.path, node), kept_in=node.files),
                "tuspyserver": lambda: source.rate(lambda: by_peer(source.path, python), kept_in=python.files),
            },
        )
    size = f"{scale.file_size // MIB} MiB"
    tus = rates["tus"]
    faster = [max(pair) for pair in zip(rates["@tus/server"], rates["tuspyserver"], strict=True)]
    return [
        compared(f"tus, {size}, against PUT", ours=tus, baseline=rates["PUT"], unit="MB/s", target=AtLeast(bound=0.9)),
        compared(
            f"tus, {size}, against the faster of two", ours=tus, baseline=faster, unit="MB/s", target=AtLeast(bound=1.2)
        ),
    ]


def by_peer(path: Path, peer: Peer) -> None:
    """Receive, then hash, then sync: what our service has done when it answers."""
    send_tus(peer.url, path, CHUNK)
    size = path.stat().st_size
    for note in [one for one in peer.files.rglob("*") if one.is_file() and one.stat().st_size < size]:
        note.unlink()
    [kept] = [one for one in peer.files.rglob("*") if one.is_file()]
    run("openssl", "dgst", "-sha256", kept)
    run("sync", kept)


@contextmanager
def node_peer(directory: Path) -> Iterator[Peer]:
    """@tus/server with its file store."""
    files = directory / "files"
    files.mkdir(parents=True)
    completed([program("npm"), "install", "--silent", "--no-audit", "--no-fund", "--prefix", directory, *NODE])
    script = directory / "server.mjs"
    script.write_text(NODE_SERVER)
    port = free_port()
    with running([program("node"), str(script), str(port), str(files)], log=directory / "log"):
        until_open(port)
        yield Peer(f"http://127.0.0.1:{port}/files", files)


@contextmanager
def python_peer(directory: Path) -> Iterator[Peer]:
    """tuspyserver, on FastAPI and uvicorn."""
    files = directory / "files"
    files.mkdir(parents=True)
    completed([sys.executable, "-m", "venv", directory / "venv"])
    python = directory / "venv" / "bin" / "python"
    completed([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON])
    script = directory / "server.py"
    script.write_text(PYTHON_SERVER)
    port = free_port()
    with running([str(python), str(script), str(port), str(files)], log=directory / "log"):
        until_open(port)
        yield Peer(f"http://127.0.0.1:{port}/files/", files)
