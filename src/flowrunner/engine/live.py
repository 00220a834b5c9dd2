"""An execution in memory: its machine, and the messages that wait for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from flowrunner.core.facts import Fact
from flowrunner.core.machine import Machine
from flowrunner.core.run import Identity
from flowrunner.errors import Conflict
from flowrunner.ids import execution_arn, express_arn, machine_arn
from flowrunner.ports.definitions import Revision
from flowrunner.ports.executions import Head


@dataclass(slots=True, kw_only=True)
class Message:
    """Something for an execution: makes its fact when its turn has come.

    `make` looks at the machine as it is then and returns the fact, None when there is nothing to do (any more), or raises
    the FlowRunnerError the sender gets. `done` resolves with the head after the commit. `then` runs after the commit
    (told when, on the monotonic clock, it was not yet sent),
    `undo` if the message came to nothing. `delivery` leaves the inbox with the commit. `heir_of` names nodes that are gone:
    what they had in hand goes on here in the same step, before `make` is asked. `begins` is the attempt that begins here by it:
    if that is no longer this node's, the message comes to nothing.
    """

    make: Callable[[Machine, int], Fact | None]
    done: asyncio.Future[Head] | None = None
    then: Callable[[float], None] | None = None
    undo: Callable[[], None] | None = None
    delivery: str | None = None
    heir_of: frozenset[str] = frozenset()
    begins: int | None = None

    def accept(self, head: Head) -> None:
        """The message's fact is stored, or there was nothing to store."""
        self.undo = None
        if self.done is not None and not self.done.done():
            self.done.set_result(head)

    def reject(self, error: Exception) -> None:
        """The message came to nothing."""
        self.undo_once()
        if self.done is not None and not self.done.done():
            self.done.set_exception(error)

    def undo_once(self) -> None:
        """What was kept ready for it is not needed."""
        undo, self.undo = self.undo, None
        if undo is not None:
            undo()


@dataclass(slots=True, kw_only=True, eq=False)
class Live:
    """One execution in memory; only its own driver touches the machine."""

    head: Head
    revision: Revision
    machine: Machine
    mailbox: deque[Message] = field(default_factory=deque)
    driving: bool = False
    more: bool = False  # the last step was cut: a Continued fact is due
    local: set[int] = field(default_factory=set)  # attempts that this node runs or will run
    others: dict[str, set[int]] = field(default_factory=dict)  # attempts that other nodes have in hand, as the head told
    begun: set[int] = field(default_factory=set)  # of the local ones, those that were given to the dispatcher
    since_snapshot: int = 0  # facts stored after the newest snapshot
    snapshot_bytes: int = 0

    @property
    def id(self) -> str:
        """The execution's id."""
        return self.head.id

    def refuse(self, error: Exception) -> None:
        """Whatever waits for it comes to nothing."""
        for message in self.mailbox:
            message.reject(error)
        self.mailbox.clear()


class ExecutionAlreadyExists(Conflict):
    """An execution of this name exists, with other input or already ended."""

    code = "execution_already_exists"

    def __init__(self, head: Head, arn: str) -> None:
        self.head = head
        super().__init__(f"Execution Already Exists: '{arn}'")


def extra_of(head: Head) -> dict[str, Any]:
    """The rarely used attributes of an execution."""
    return orjson.loads(head.extra) if head.extra else {}


def name_of(head: Head) -> str:
    """The name its starter gave it; express executions share names, so theirs is no key (AWS: they are not idempotent by name)."""
    name: str = extra_of(head).get("name", head.name) if head.extra else head.name
    return name


def identity_of(head: Head, revision: Revision, region: str) -> Identity:
    """What the machine must know of its execution."""
    return Identity(
        id=head.id,
        arn=arn_of(head, region),
        name=name_of(head),
        machine_arn=machine_arn(region, head.account, head.machine),
        machine_name=head.machine,
        role_arn=revision.role_arn,
        region=region,
        account=head.account,
        started_at=head.started_at,
        seed=head.seed,
        input=head.input,
    )


def arn_of(head: Head, region: str) -> str:
    """The execution's ARN; express executions have one of their own kind."""
    run = extra_of(head).get("express") if head.extra else None
    if run is not None:
        return express_arn(region, head.account, head.machine, name_of(head), run)
    return execution_arn(region, head.account, head.machine, head.name)
