"""Carrying out task attempts: what a handler is given, what it may answer, and how it is found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from flowrunner.core.resource import Resource
from flowrunner.lang.dynamic import SecretPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCall:
    """One attempt.

    `parameters` is JSON text: a service's parameters, or a function's event. `key` is the idempotency key, stable over
    restarts. `retry` counts earlier attempts of this state visit; `attempt` is the number within the execution. `deadline`
    is milliseconds since 1970 UTC. `test_case` selects mocks. `parent_depth` counts executions above this one.
    `secrets` are the places in `parameters` where the definition has secret references, with the text that stands there.
    """

    execution: str
    execution_arn: str
    machine_arn: str
    account: str
    region: str
    state: str
    attempt: int
    retry: int
    resource: Resource
    parameters: str
    key: str
    token: str | None = None
    deadline: int | None = None
    heartbeat_seconds: int | None = None
    credentials: str | None = None
    test_case: str | None = None
    secrets: tuple[SecretPlace, ...] = ()


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The work is done; `output` is JSON text. For a callback or job pattern it is the first answer (TaskSubmitted)."""

    output: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The work failed. `phase` tells where: before it could be asked for, before it began, on submission, or in its run."""

    error: str | None
    cause: str | None
    phase: Literal["schedule", "start", "submit", "run"] = "run"


@dataclass(frozen=True, slots=True)
class Completed:
    """The work is done although its pattern is a callback or a job: there is nothing to wait for (mocks)."""

    submitted: str
    output: str


TaskOutcome = Succeeded | Failed | Completed


class AttemptLost(Exception):
    """Another node has gone on without this attempt: it must not begin here any more. Handlers let it pass."""


# Whether the attempt that runs in this context may begin now; set by who runs attempts where other nodes may take over.
may_begin: ContextVar[Callable[[], Awaitable[bool]] | None] = ContextVar("may_begin", default=None)


async def begin() -> None:
    """Called by a handler right before the first thing that can be seen outside: what came before may have taken long.

    A worker has to be started, a name to be resolved; a node that was paused meanwhile has lost the attempt (reliability
    R13). Raises AttemptLost.
    """
    ask = may_begin.get()
    if ask is not None and not await ask():
        raise AttemptLost


Level = Literal["debug", "info", "warn", "error"]
Say = Callable[[Level, str, "str | None"], None]
# Takes what the attempt that runs in this context says; set by who runs attempts.
say: ContextVar[Say | None] = ContextVar("say", default=None)


def log(level: Level, message: str, data: str | None = None) -> None:
    """Called by a handler for every line that the author of a flow is to read while the attempt runs; `data` is JSON text.

    The line becomes part of the execution's log (a StepLogged note) and of every stream that follows it. A handler bounds how much it says.
    """
    taken = say.get()
    if taken is not None:
        taken(level, message, data)


class TaskHandler(ABC):
    """Carries out attempts of one kind of resource."""

    @abstractmethod
    async def run(self, call: TaskCall) -> TaskOutcome:
        """Do the work and tell how it ended; never raises for what the work does. Calls `begin` before it starts it.

        May be cancelled at any time (timeout, stop): then the work must really have stopped before CancelledError is
        raised again.
        """

    def idempotent(self, call: TaskCall) -> bool:
        """Whether an attempt whose outcome is unknown may simply be run again under the same key (default: no)."""
        del call
        return False

    def keeps_parameters(self, call: TaskCall) -> bool:
        """Whether the parameters are stored somewhere, as a child's input is: then they must not hold secrets (default: no)."""
        del call
        return False

    def places(self) -> int:
        """How many attempts can run at once; the engine keeps the rest waiting, unstarted (default: 1,000)."""
        return 1000


class TaskResolver(Protocol):
    """Finds the handler for a call."""

    def resolve(self, call: TaskCall) -> TaskHandler:
        """The handler; one that fails the call with the error AWS gives when nothing serves the resource."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStart:
    """A nested execution to start on behalf of an attempt.

    `wait` makes the child's end the attempt's result: ``text`` gives the child's input and output as text (.sync),
    ``json`` as JSON (.sync:2). `key` makes a repeated call give the child it started before.
    """

    account: str
    machine_arn: str
    name: str | None
    input: str
    key: str
    parent: str
    attempt: int
    wait: Literal["text", "json"] | None = None


class Child(NamedTuple):
    """A nested execution: its ARN, when it began in milliseconds since 1970 UTC, and the id that REST and sockets take."""

    arn: str
    started_at: int
    id: str


class ExecutionStarter(Protocol):
    """How a task reaches the engine; handed over by wiring."""

    async def start_child(self, start: ChildStart) -> Child:
        """Start a nested execution. Raises FlowRunnerError (NotFound, Conflict, ...)."""
        ...

    async def answer(self, token: str, *, account: str, output: str | None = None, error: str | None = None, cause: str | None = None) -> None:
        """Answer a task token of this account on behalf of a task; output given means success. Raises InvalidToken, TaskTokenTimedOut."""
        ...
