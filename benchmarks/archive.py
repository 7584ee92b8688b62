"""`GET /data/{id}` of a bundle, against a plain download of the same bytes, from the page cache."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.downloads import rate, uploaded
from benchmarks.load import random_file
from benchmarks.measuring import AtLeast, Row, compared, taking_turns
from benchmarks.programs import run
from benchmarks.scale import MIB, Scale
from benchmarks.servers import service, workplace

FILES = 8
FORMATS = ("tar", "zip")


def archive(scale: Scale) -> list[Row]:
    """MB/s to one client that fetches a bundle of files as an archive, and one file of the same bytes."""
    size = scale.archived_size
    with workplace() as place, service(place / "data") as ours:
        files = [random_file(place / f"{number}", size) for number in range(FILES)]
        plain = uploaded(joined(files, place / "plain"), ours.url)
        bundle = bundled([uploaded(file, ours.url) for file in files], ours.url)
        measures = {"plain": partial(rate, plain, 1, FILES * size)}
        measures |= {form: partial(rate, f"{bundle}?format={form}", 1, FILES * size) for form in FORMATS}
        rates = taking_turns(scale.rounds, measures, warm_up=True)
    return [
        compared(
            f"{form}, {FILES} files, {size // MIB} MiB each",
            ours=rates[form],
            baseline=rates["plain"],
            unit="MB/s",
            target=AtLeast(bound=0.7),
        )
        for form in FORMATS
    ]


def joined(files: Sequence[Path], path: Path) -> Path:
    """A file of the bytes of all of them."""
    with path.open("wb") as whole:
        for file in files:
            whole.write(file.read_bytes())
    return path


class Made(msgspec.Struct):
    id: str


class Registered(msgspec.Struct):
    objects: list[Made]


def bundled(urls: Sequence[str], url: str) -> str:
    """Make a bundle of files; returns where its archive can be fetched."""
    contents = [{"name": Path(one).name, "id": Path(one).name} for one in urls]
    body = msgspec.json.encode({"candidates": [{"contents": contents}]}).decode()
    headers = ("-H", "content-type: application/json")
    answer = run("curl", "-sS", "--fail", *headers, "-d", body, f"{url}/ga4gh/drs/v1/objects/register")
    [made] = msgspec.json.decode(answer, type=Registered).objects
    return f"{url}/data/{made.id}"
