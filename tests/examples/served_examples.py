"""The service of an example in this process, on a clock that the test moves: nothing waits for real."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from flowrunner import config
from flowrunner.cli.inside import client_inside, role_arn
from flowrunner.jsonvalue import loads
from flowrunner.testing.clock import ManualClock
from flowrunner.wiring import build

EXAMPLES = Path(__file__).parents[2] / "examples"
LONGEST_SECONDS = 30  # real ones, for worker processes on a slow machine


class Example:
    """One folder of `examples`, served."""

    def __init__(self, folder, application, client, clock):
        self.folder = folder
        self.application = application
        self.client = client
        self.clock = clock

    def input(self, name="input"):
        """The text of an input file."""
        return (self.folder / f"{name}.json").read_text(encoding="utf-8")

    async def start(self, given):
        """Register the definition and start it; return the run."""
        [file] = self.folder.glob("*.asl.json")
        machine = await self.client.register(file.name.removesuffix(".asl.json"), file.read_text(encoding="utf-8"), role_arn=role_arn("000000000000"))
        started = await self.client.call("StartExecution", stateMachineArn=machine, input=given)
        return await self.client.run(started["executionArn"])

    async def seen(self, run, *types, count=1):
        """Wait until this many events of these types are in the log."""
        async with asyncio.timeout(LONGEST_SECONDS):
            async for batch in self.application.feed.follow(run["runId"]):
                count -= sum(record["type"] in types for _, record in batch)
                if count <= 0:
                    return
        raise AssertionError(f"the run ended without {types}")

    async def ended(self, run):
        """Wait for the end: (the run, its history)."""
        async with asyncio.timeout(LONGEST_SECONDS):
            await self.application.feed.ended(run["runId"])
        return await self.client.run(run["runId"]), [event async for event in self.client.history(run["executionArn"])]

    async def run(self, given):
        """Start, and wait for the end."""
        return await self.ended(await self.start(given))


def visited(history):
    """The names of the states in the order in which they were entered."""
    return [event["stateEnteredEventDetails"]["name"] for event in history if event["type"].endswith("StateEntered")]


def exited(history):
    """What each state that was left gave."""
    return {
        event["stateExitedEventDetails"]["name"]: loads(event["stateExitedEventDetails"]["output"])
        for event in history
        if event["type"].endswith("StateExited")
    }


@pytest.fixture
async def served(tmp_path):
    """Serves a folder of `examples`."""
    async with AsyncExitStack() as stack:

        async def serve(name):
            folder = EXAMPLES / name
            found = folder / "flowrunner.toml"
            settings = config.load(
                config=found if found.is_file() else None, environment={}, folder=tmp_path, flags={"store": f"sqlite:///{tmp_path}/flowrunner.db", "dev": True}
            )
            clock = ManualClock()
            application = build(settings, clock=clock)
            await application.start(stack)
            client = await stack.enter_async_context(client_inside(application))
            return Example(folder, application, client, clock)

        yield serve
