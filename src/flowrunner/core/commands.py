"""What the machine asks for; carried out by the engine after the step is committed, never during replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from flowrunner.core.records import Record
from flowrunner.core.resource import Resource
from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.dynamic import SecretPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAttempt:
    """Carry out one attempt of a task.

    `parameters` is JSON text. `key` is stable over restarts (``execution/attempt``): the idempotency key. `token` is the
    task token where the pattern has one. `deadline` is in milliseconds since 1970 UTC. `state` is the state's name and
    `retry` how often it was tried before. `credentials` is the role's ARN. `secrets` are the places in `parameters` whose
    references are to be resolved, with the text that stands there.
    """

    attempt: int
    state: str
    retry: int
    resource: Resource
    parameters: str
    key: str
    token: str | None = None
    deadline: int | None = None
    heartbeat_seconds: int | None = None
    credentials: str | None = None
    secrets: tuple[SecretPlace, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelAttempt:
    """Stop an attempt: it timed out or its execution goes on without it. Closes its activity task too.

    `job` is what the call that started its job answered (JSON text), when it had one that must be stopped too.
    """

    attempt: int
    job: str | None = None


Command = RunAttempt | CancelAttempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an execution ended; `verdict` is what its program's `verdict` names in the output."""

    status: Literal["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
    at: int
    output: str | None = None
    error: str | None = None
    cause: str | None = None
    verdict: JSONValue = None


@dataclass(slots=True, kw_only=True)
class Step:
    """What follows from one fact, or from several that are stored together.

    `more` asks for a Continued fact: the bound of one step was reached in the middle of pure states. `retried` names the
    errors that will be tried again.
    """

    records: list[Record] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    outcome: Outcome | None = None
    more: bool = False
    retried: list[str] = field(default_factory=list)

    def extend(self, later: Step) -> None:
        """Join a later step to this one: they will be one commit."""
        self.records += later.records
        self.commands += later.commands
        self.outcome = later.outcome or self.outcome
        self.more = later.more
        self.retried += later.retried
