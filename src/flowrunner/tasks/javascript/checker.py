"""Whether scripts compile, found out in a process of its own: whatever stands there, the server is asked and answers meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from flowrunner.jsonvalue import dumps, loads
from flowrunner.tasks.javascript.check import MEMORY_BYTES, problem_of, unreadable, ways
from flowrunner.tasks.javascript.places import SyntaxProblem
from flowrunner.tasks.javascript.pool import ScriptLost, ScriptPool
from flowrunner.tasks.javascript.worker import CALL, READ_ONLY

MILLISECONDS = 5_000  # for all scripts of one definition; a megabyte of plain code takes about half a second
THREAD_CHARACTERS = 32_768  # more than that is prepared beside the event loop
_TOO_LONG = "it takes too long to read: it is nested too deep, or too large"
_LOST = "the engine cannot read it"


class Checker:
    """Reads scripts in one worker process, which is started when it is first needed. It is not that of scripts that run: those may hold theirs for long."""

    def __init__(self, *, milliseconds: int = MILLISECONDS) -> None:
        self._pool = ScriptPool(1)
        self._milliseconds = milliseconds

    async def start(self, stack: AsyncExitStack) -> None:
        """Nothing runs yet; the process is killed at the end of `stack`."""
        await self._pool.start(stack)

    async def __call__(self, sources: Sequence[str]) -> dict[str, SyntaxProblem]:
        """What is wrong, by source; sources without a problem are left out. Raises ConfigurationError when no process can be started.

        The first source that cannot be read in time is a problem; those behind it are not judged then.
        """
        problems = {source: found for source in sources if (found := unreadable(source)) is not None}
        asked = [source for source in sources if source not in problems]
        if asked:
            large = sum(map(len, asked)) > THREAD_CHARACTERS
            content = await asyncio.to_thread(_content, asked) if large else _content(asked)
            problems.update(await self._ask(asked, content))
        return problems

    async def _ask(self, sources: Sequence[str], content: bytes) -> dict[str, SyntaxProblem]:
        said: list[list[str] | None] = []

        async def answer(letter: bytes, told: bytes) -> None:
            del letter
            said.append(loads(told))

        frame = CALL.pack(len(content), self._milliseconds, MEMORY_BYTES, READ_ONLY) + content
        lost: ScriptLost | None = None
        try:
            await self._pool.call(frame, seconds=self._milliseconds / 1000, most=0, answer=answer)
        except ScriptLost as error:
            lost = error
        problems = {source: problem_of(source, words) for source, words in zip(sources, said, strict=False) if words is not None}
        if lost is not None and len(said) < len(sources):
            problems[sources[len(said)]] = SyntaxProblem(_TOO_LONG if lost.timed_out else _LOST, 1, 1)
        return problems


def _content(sources: Sequence[str]) -> bytes:
    return dumps([list(ways(source)) for source in sources]).encode()
