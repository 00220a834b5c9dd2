from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from task_calls import Starter, ids

from flowrunner.clock import SystemClock
from flowrunner.tasks.functions import read_functions
from flowrunner.tasks.registry import Registry


@pytest.fixture
async def stack():
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def starter():
    return Starter()


@pytest.fixture
def registry(stack, starter):
    """Make and start a registry."""

    async def make(**options):
        made = Registry(starter=starter, callbacks=starter, uuids=ids(), clock=SystemClock(), **options)
        await made.start(stack)
        return made

    return make


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.fixture
def run(registry, tmp_path):
    """Runs calls with functions made from source text; the registry is made once for each test."""
    made = []

    async def runner(source, functions, the_call, **options):
        _write(tmp_path / "functions.py", source)
        if not made:
            made.append(await registry(functions=read_functions(functions, tmp_path), **options))
        return await made[0].resolve(the_call).run(the_call)

    return runner
