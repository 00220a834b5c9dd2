"""A campaign: machines on servers that are killed, from their start to the verdict.

    async with Campaign(servers, book, FLOWS, told=told) as campaign:
        names = [await campaign.begin(flow) for flow in FLOWS]
        ...kill and start servers...
        campaign.judge(await campaign.evidence())

What goes wrong is told with everything needed to see it again: see `Told`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from flowrunner.client import ServerRefused
from flowrunner.testing.crash.checker import Answer, Evidence, Run, Start, check
from flowrunner.testing.crash.flows import ACTIVITY, BY_NAME, Flow
from flowrunner.testing.crash.fronts import AwsFront, Front, RestFront
from flowrunner.testing.crash.ledger import Book
from flowrunner.testing.crash.outside import Callers, answer_tokens, work
from flowrunner.testing.crash.server import Server

SECONDS_TO_END = 60.0  # of each execution, after the last fault
LOOK_SECONDS = 0.15
LEAST_SUCCESS = 0.6


@dataclass(slots=True)
class Told:
    """What a failure says: the seed, what was done to the servers, and how to do it again."""

    replay: str
    seed: int | None = None
    schedule: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        seed = "" if self.seed is None else f"seed {self.seed}\n"
        return f"{seed}schedule: {'; '.join(self.schedule) or 'nothing was done'}\nagain: {self.replay}"


class Verdict(AssertionError):
    """Something is wrong; the message tells what, and how to see it again."""


class Campaign:
    """Starts machines, plays the world around them, and collects what was seen. An async context manager.

    With `nurse` whatever server ends is started again, with this `environment`.
    """

    def __init__(
        self, servers: Sequence[Server], book: Book, flows: Iterable[Flow], *, told: Told, nurse: bool = True, environment: Mapping[str, str] | None = None
    ) -> None:
        self.servers = servers
        self.callers = Callers(servers)
        self.told = told
        self.faults = 0
        self.tried: set[str] = set()  # executions whose start was asked for elsewhere, and not acknowledged
        self._book = book
        self._flows = list(flows)
        self._nurse = nurse
        self._environment = dict(environment or {})
        self._starts: list[Start] = []
        self._answers: defaultdict[str, list[Answer]] = defaultdict(list)
        self._numbers = itertools.count(1)
        self._beside: list[asyncio.Task[None]] = []
        self._aws, self._rest = AwsFront(self.callers), RestFront(self.callers)

    async def __aenter__(self) -> Self:
        """Register the machines and what they need; the world begins to move."""
        for flow in self._all():
            await self._front(flow).create(flow)
        await self.callers.call("CreateActivity", name=ACTIVITY.rpartition(":")[2])
        self._beside = [asyncio.create_task(answer_tokens(self.callers, self._book)), asyncio.create_task(work(self.callers, self._book))]
        if self._nurse:
            self._beside += [asyncio.create_task(self._keep_alive(server)) for server in self.servers]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The world stops."""
        for task in self._beside:
            task.cancel()
        ended = await asyncio.gather(*self._beside, return_exceptions=True)
        await self.callers.close()
        broken = [one for one in ended if isinstance(one, Exception)]
        if broken and error is None:
            raise broken[0]

    def _front(self, flow: Flow) -> Front:
        return self._aws if flow.format == "asl" else self._rest

    def _all(self) -> list[Flow]:
        return list({flow.name: flow for one in self._flows for flow in (*one.needs, one)}.values())

    async def _keep_alive(self, server: Server) -> None:
        """Start a server again whenever it was killed; the crash point it was started with is for once."""
        while True:
            await server.gone()
            self.faults += 1
            await server.start(**self._environment)

    async def begin(self, flow: Flow, name: str | None = None) -> str:
        """Start a machine, asking until that is answered; return the execution's ARN, or its id."""
        started = await self._front(flow).begin(flow, name or f"{flow.name}-{next(self._numbers)}")
        self._starts.append(started)
        return started.arn

    async def ended(self, arn: str, within: float = SECONDS_TO_END) -> Answer | None:
        """Wait for the end of an execution; None if it has not come in time. What was seen counts as evidence."""
        front = self._aws if arn.startswith("arn:") else self._rest
        try:
            async with asyncio.timeout(within):
                while True:
                    found = await front.answer(arn)
                    if found is not None:
                        self._answers[arn].append(found)
                        return found
                    await asyncio.sleep(LOOK_SECONDS)
        except (TimeoutError, ServerRefused):  # or it is not there, which the checker will notice
            return None

    async def evidence(self, within: float = SECONDS_TO_END) -> Evidence:
        """Wait for the end of everything there is, acknowledged or not, and collect what can be known of it."""
        flows: dict[str, str] = {start.arn: start.flow for start in self._starts}
        deadline = asyncio.get_running_loop().time() + within
        looked: set[str] = set()
        while True:  # children begin while their parents run
            for flow in self._all():
                flows |= dict.fromkeys(await self._front(flow).executions(flow), flow.name)
            fresh = flows.keys() - looked
            if not fresh:
                break
            looked |= fresh
            left = max(1.0, deadline - asyncio.get_running_loop().time())
            await asyncio.gather(*(self.ended(arn, left) for arn in fresh))
        runs = [run for arn, flow in flows.items() if (run := await self._run(arn, BY_NAME[flow])) is not None]
        return Evidence(runs=runs, starts=list(self._starts), lines=self._book.lines(), faults=self.faults, tried=self.tried)

    async def _run(self, arn: str, flow: Flow) -> Run | None:
        front = self._front(flow)
        try:
            found = await front.answer(arn)
        except ServerRefused:
            return None
        if found is not None:
            self._answers[arn].append(found)
        run = await front.run(arn, flow)
        run.answers = self._answers[arn]
        return run

    def judge(self, evidence: Evidence) -> None:
        """Raise Verdict if anything is wrong, or if so little went well that nothing is shown."""
        found = check(evidence)
        if self.callers.success < LEAST_SUCCESS:
            found.append(f"only {self.callers.success:.0%} of the calls were answered: {dict(self.callers.tries)}")
        if found:
            logs = "\n".join(f"--- {server.folder}\n{server.last_words(10)}" for server in self.servers)
            raise Verdict("\n".join([*found[:20], str(self.told), logs]))
