"""Task resources: which kind of work an ARN names, and how the history calls it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Pattern = Literal["", "sync", "sync:2", "waitForTaskToken"]
OWN_SERVICE = "flowrunner"  # its actions are kinds of nodes; they have dots in their names and no patterns
Family = Literal["lambda", "activity", "service"]


@dataclass(frozen=True, slots=True)
class Resource:
    """A parsed resource.

    `service` and `action` are the history's resourceType and resource without its pattern: ``states`` and
    ``startExecution`` for ``arn:aws:states:::states:startExecution.sync``. Functions have service ``lambda`` and the
    function's ARN as action; activities the activity's ARN.
    """

    arn: str
    family: Family
    service: str
    action: str
    pattern: Pattern = ""

    @property
    def name(self) -> str:
        """The history's ``resource``: the action with its pattern."""
        return f"{self.action}.{self.pattern}" if self.pattern else self.action

    @property
    def is_submitted(self) -> bool:
        """Whether a first answer comes before the result (TaskSubmitted)."""
        return self.pattern != ""


@lru_cache(maxsize=4096)
def parse_resource(arn: str) -> Resource | None:
    """Read a Task's Resource; None when it is no ARN of a kind that exists.

    ``arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:VERSION]``, ``arn:PARTITION:states:REGION:ACCOUNT:activity:NAME`` and
    ``arn:PARTITION:states:REGION:ACCOUNT:SERVICE:ACTION[.PATTERN]`` (region and account are usually empty); FlowRunner's own kinds of nodes
    are ``arn:aws:states:::flowrunner:KIND``.
    """
    parts = arn.split(":")
    if len(parts) < 7 or parts[0] != "arn":
        return None
    if parts[2] == "lambda" and parts[5] == "function":
        return Resource(arn, "lambda", "lambda", arn)
    if parts[2] != "states":
        return None
    if parts[5] == "activity":
        return Resource(arn, "activity", "activity", arn)
    rest = ":".join(parts[5:])
    if parts[5] == OWN_SERVICE:
        return Resource(arn, "service", OWN_SERVICE, ":".join(parts[6:])) if parts[6] else None
    rest, dot, pattern = rest.partition(".")
    service, _, action = rest.rpartition(":")
    if not service or not action or (dot and pattern not in ("sync", "sync:2", "waitForTaskToken")):
        return None
    return Resource(arn, "service", service, action, pattern)  # type: ignore[arg-type]  # checked in the line above
