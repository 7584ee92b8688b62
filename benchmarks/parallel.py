"""One large file in four streams, against the same file in one."""

from functools import partial

from benchmarks.load import random_file, send_in_parts, send_tus
from benchmarks.measuring import AtLeast, Row, compared, taking_turns
from benchmarks.resumable import CHUNK
from benchmarks.scale import MIB, Scale
from benchmarks.servers import nodes, workplace
from benchmarks.uploads import Source

STREAMS = 4


def parallel(scale: Scale) -> list[Row]:
    """One client sends a large file by tus to two nodes: in four parts at once that are joined, and in one stream."""
    # The object is to be there when the answer comes, as it is at the end of one stream: no worker joins the parts.
    settings = {"DRS_FINISH_AT_ONCE_BYTES": str(scale.file_size)}
    with workplace() as place, nodes(place / "nodes", 2, settings=settings) as [first, second]:
        source = Source(random_file(place / "source", scale.file_size))
        blobs = place / "nodes" / "store" / "sha256"
        urls = [f"{node.url}/tus" for node in (first, second)] * (STREAMS // 2)
        rates = taking_turns(
            scale.rounds,
            {
                "one": lambda: source.rate(partial(send_tus, urls[0], source.path, CHUNK), kept_in=blobs),
                "four": lambda: source.rate(partial(send_in_parts, urls, source.path, CHUNK), kept_in=blobs),
            },
        )
    return [
        compared(
            f"tus, {scale.file_size // MIB} MiB, {STREAMS} streams against one",
            ours=rates["four"],
            baseline=rates["one"],
            unit="MB/s",
            target=AtLeast(bound=1.2),
        )
    ]
