"""A step in the making: what it takes in, and what it will do once it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowrunner.core.commands import Step
from flowrunner.core.facts import Fact
from flowrunner.engine.live import Message
from flowrunner.errors import FlowRunnerError
from flowrunner.ports.tasks import TaskCall, TaskHandler


@dataclass(slots=True, kw_only=True)
class Making:
    """Nothing in here has had an effect yet, but for the places that are reserved."""

    began: float
    step: Step = field(default_factory=Step)
    facts: list[Fact] = field(default_factory=list)
    accepted: list[Message] = field(default_factory=list)
    idle: list[Message] = field(default_factory=list)  # those that there is nothing to do for
    declined: list[tuple[Message, FlowRunnerError]] = field(default_factory=list)
    inner: list[Message] = field(default_factory=list)  # made here: on failure they are not tried again
    consumed: list[str] = field(default_factory=list)
    to_run: list[tuple[TaskCall, TaskHandler]] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    inherits: bool = False

    @property
    def changes(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.facts or self.consumed or self.inherits)
