"""Hundreds of uploads, in every way, while nodes are killed and restarted, and connections are cut at both ends.

FAULT_UPLOADS=20000 FAULT_SEED=7 pytest tests/faults/test_tus_long.py     longer, and another story
"""

import asyncio
import hashlib
import os
import random
import signal

import httpx
import pytest

from drs_service.settings import Settings
from tests.api.traces import blob_files, staged_files
from tests.faults.test_tus import cut_off
from tests.support.aftermath import tidy_up
from tests.support.deadline import more_than, until
from tests.support.nodes import Node, node_of_its_own
from tests.support.stubborn import WAYS, Stubborn

UPLOADS = int(os.environ.get("FAULT_UPLOADS", "200"))
SEED = int(os.environ.get("FAULT_SEED", "1"))
BETWEEN = 15  # uploads, from one fault to the next
SENDERS = 12
SIZES = (1, 100, 40_000, 600_000, 4_000_000)  # bytes: each file has less than one of these
CUTS = 0.25
LONG = 30.0  # seconds, on a machine that has other things to do


class Story:
    """Two nodes, and what happens to them and to what is sent to them."""

    def __init__(self, settings: Settings, env: dict[str, str], sender: Stubborn, nodes: list[Node]) -> None:
        self.kept: dict[str, str] = {}
        """Path of an object to the SHA-256 of what it was made of."""
        self._settings = settings
        self._env = env
        self._random = sender.random
        self._sender = sender
        self._nodes = nodes

    async def send(self) -> None:
        while len(self.kept) < UPLOADS:
            content = self._random.randbytes(self._random.randrange(self._random.choice(SIZES)))
            path = await self._random.choice(WAYS)(self._sender, content)
            self.kept[path] = hashlib.sha256(content).hexdigest()

    async def go_wrong(self) -> None:
        while len(self.kept) < UPLOADS - BETWEEN:
            await until(more_than(BETWEEN - 1, self.kept.__len__), within=LONG)
            match self._random.randrange(6):
                case 0:
                    await cut_off(self._settings)
                case 1:
                    await asyncio.gather(*(self._end(number, signal.SIGKILL) for number in range(len(self._nodes))))
                case 2:
                    await self._end(self._random.randrange(len(self._nodes)), signal.SIGTERM)
                case _:
                    await self._end(self._random.randrange(len(self._nodes)), signal.SIGKILL)

    async def _end(self, number: int, how: signal.Signals) -> None:
        """End a node, and have another one in its place."""
        await self._nodes[number].end(how)
        self._nodes[number] = await asyncio.to_thread(Node, self._settings, self._env)
        self._sender.nodes[number] = self._nodes[number].url


@pytest.mark.timeout(60 + UPLOADS)
async def test_no_story_ends_badly(settings: Settings, own_environment: dict[str, str]) -> None:
    async with httpx.AsyncClient(timeout=30, limits=httpx.Limits()) as client:
        nodes = [await asyncio.to_thread(Node, settings, own_environment) for _ in range(2)]
        try:
            sender = Stubborn(client, [node.url for node in nodes], random.Random(SEED), cuts=CUTS)
            story = Story(settings, own_environment, sender, nodes)
            async with asyncio.TaskGroup() as group:
                for _ in range(SENDERS):
                    group.create_task(story.send())
                group.create_task(story.go_wrong())
        finally:
            for node in nodes:
                await node.end(signal.SIGKILL)
        assert sender.answered.keys() <= {0, 200, 201, 204, 409, 423, 503}
        await tidy_up(settings)
        assert not staged_files(settings)
        async with node_of_its_own(settings, own_environment) as node:
            sender.nodes, sender.cuts = [node.url], 0
            for path, digest in story.kept.items():
                assert hashlib.sha256(await sender.content_of(path)).hexdigest() == digest
    for file in blob_files(settings):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name
