"""The baseline of the object benchmarks: what Litestar under uvicorn costs before a service does anything.

Run as `python -m benchmarks.bare JSON`; prints the port it listens on.
"""

import socket
import sys

import msgspec
import uvicorn
import uvloop
from litestar import Litestar, get
from litestar.params import FromPath

from benchmarks.objects import PATH
from drs_service.api.drs.shapes import DrsObject


def main() -> None:
    known: dict[str, DrsObject] = {}
    otherwise = msgspec.json.decode(sys.argv[1], type=DrsObject)

    @get(PATH + "{object_id:str}")
    async def get_object(object_id: FromPath[str]) -> DrsObject:
        return known.get(object_id, otherwise)

    # The options are those of the service, written out: the baseline must not follow when the service changes.
    config = uvicorn.Config(
        Litestar([get_object], logging_config=None),
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
    )
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        uvloop.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
