"""The world around the servers: callers that do not give up, who answers task tokens, a worker of the activity.

They behave as real ones do: an answer that did not come is asked for again, until it comes or the answer says that it is over.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from flowrunner.client import Client, ServerRefused, ServerUnreachable
from flowrunner.testing.crash.flows import ACTIVITY
from flowrunner.testing.crash.ledger import Book, note
from flowrunner.testing.crash.server import Server

TRY_AGAIN_SECONDS = 0.05
TRY_SECONDS = 8.0  # for one answer, but for calls that wait on purpose: a paused server gives none
WAITING = frozenset({"GetActivityTask"})
CALL_SECONDS = 90.0  # for one operation, however often it must be asked for
OVER = frozenset({"TaskTimedOut", "InvalidToken", "TaskDoesNotExist"})

_REFUSALS = {503: "away"}  # the server said itself that its store does not answer


class Callers:
    """Calls one of several servers, whichever answers; counts what came of each try."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers
        self.tries: Counter[str] = Counter()  # answered, refused, unanswered; away: nobody could have answered, for want of a server or of its store
        self._clients = [Client(server.url) for server in servers]
        self._turn = 0

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.__aexit__(None, None, None)

    async def once(self, operation: str, *, at: int | None = None, **parameters: Any) -> dict[str, Any]:
        """Ask once, of the server `at` this place or of the next one. Raises ServerRefused, ServerUnreachable."""
        return await self._ask(lambda client: client.call(operation, **parameters), at, None if operation in WAITING else TRY_SECONDS)

    async def call(self, operation: str, *, within: float = CALL_SECONDS, **parameters: Any) -> dict[str, Any]:
        """Ask until there is an answer. Raises ServerRefused for one that says no, TimeoutError."""
        return await self._until_answered(lambda client: client.call(operation, **parameters), within)

    async def run(self, arn: str) -> dict[str, Any]:
        """An execution as the REST routes show it. Raises as `call`."""
        return await self._until_answered(lambda client: client.run(arn), CALL_SECONDS)

    async def rest(self, method: str, path: str, body: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """Call a route of the REST API until there is an answer. Raises as `call`."""
        return await self._until_answered(lambda client: client.rest(method, path, body, **options), CALL_SECONDS)

    async def messages(self, run: str) -> list[dict[str, Any]]:
        """The whole stream of a run that has ended, history events and notes, without its last message. Raises as `call`."""

        async def read(client: Client) -> dict[str, Any]:
            return {"messages": [message async for message in client.follow(run, history=True)]}

        return list((await self._until_answered(read, CALL_SECONDS))["messages"][:-1])

    async def _ask(self, ask: Callable[[Client], Awaitable[dict[str, Any]]], at: int | None = None, within: float | None = TRY_SECONDS) -> dict[str, Any]:
        self._turn += 1
        place = (self._turn if at is None else at) % len(self._clients)
        could = self.servers[place].serving
        try:
            async with asyncio.timeout(within):
                answer = await ask(self._clients[place])
        except (ServerUnreachable, TimeoutError) as error:
            self.tries["unanswered" if could and self.servers[place].serving else "away"] += 1
            raise ServerUnreachable("The server does not answer.") from error
        except ServerRefused as error:
            self.tries[_REFUSALS.get(error.status, "unanswered" if error.status >= 500 else "refused")] += 1
            raise
        self.tries["answered"] += 1
        return answer

    async def _until_answered(self, ask: Callable[[Client], Awaitable[dict[str, Any]]], within: float) -> dict[str, Any]:
        async with asyncio.timeout(within):
            while True:
                try:
                    return await self._ask(ask)
                except ServerUnreachable:
                    pass
                except ServerRefused as error:
                    if error.status < 500:
                        raise
                await asyncio.sleep(TRY_AGAIN_SECONDS)

    @property
    def success(self) -> float:
        """The share that was answered of what could have been: a campaign in which nearly nothing works proves nothing."""
        return self.tries["answered"] / max(1, self.tries.total() - self.tries["away"])


async def answer_tokens(callers: Callers, book: Book, *, seconds: float = 0.02) -> None:
    """Succeed every task whose token comes to the book; runs until cancelled."""
    answered: set[str] = set()
    seen = 0
    while True:
        lines = book.lines()
        for line in lines[seen:]:
            if "worker" not in line and line.get("token") not in (None, *answered):
                answered.add(line["token"])
                await _end_task(callers, line["token"], {"approved": "yes"})
        seen = len(lines)
        await asyncio.sleep(seconds)


async def work(callers: Callers, book: Book, name: str = "painter") -> None:
    """Be a worker of the activity: ask for a task, note it, answer it; runs until cancelled."""
    while True:
        try:
            task = await callers.once("GetActivityTask", activityArn=ACTIVITY, workerName=name)
        except (ServerUnreachable, ServerRefused):
            await asyncio.sleep(TRY_AGAIN_SECONDS)
            continue
        if "taskToken" in task:
            execution = json.loads(task["input"])["execution"]
            await asyncio.to_thread(note, {"worker": name, "token": task["taskToken"], "execution": execution}, at=book.at)
            await _end_task(callers, task["taskToken"], {"done": "painted"})


async def _end_task(callers: Callers, token: str, output: dict[str, Any]) -> None:
    try:
        await callers.call("SendTaskSuccess", taskToken=token, output=json.dumps(output))
    except ServerRefused as error:
        if error.code not in OVER:
            raise
