"""The contract of a kind of node: what one attempt is given, what it gives, how it fails."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.info import NODE_FAILED, KindInfo

INVALID_PARAMETERS = "FlowRunner.InvalidParameters"


class NodeFailed(Exception):
    """The node did not do its work. `cause` is for people, `error` a name that retries and edges match; one of the kind's documented errors.

    A node that took too long has the error ``States.Timeout``, and takes the edge ``timeout``.
    """

    def __init__(self, cause: str, *, error: str = NODE_FAILED) -> None:
        self.cause = cause
        self.error = error
        super().__init__(f"{error}: {cause}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCall:
    """One attempt as a kind sees it.

    `params` have no expressions any more, except in scripts. `input` is what the node is given. `key` is the idempotency key, the same when an
    attempt is repeated after a crash; `retry` counts the attempts before this one. `deadline` is milliseconds since 1970 UTC. `raw` is
    the whole parameters object of the task: ``results``, ``shared``, ``variables``, ``execution``, ``language``.
    """

    params: Mapping[str, JSONValue]
    input: JSONValue
    account: str
    execution: str
    state: str
    key: str
    retry: int
    deadline: int | None
    raw: Mapping[str, JSONValue]

    @property
    def language(self) -> str:
        """Which front end asks: ``flow``, ``workflow`` or ``asl``."""
        language = self.raw.get("language", "asl")
        return language if isinstance(language, str) else "asl"


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What a node gave, and the edge it picks. `shared` is the flow's shared object if the node changed it. `named`: a hook said that it is ``success``."""

    output: JSONValue
    action: str = "success"
    shared: JSONObject | None = None
    named: bool = False


class NodeKind(ABC):
    """Carries out the nodes of one kind. One instance serves all calls at once: it keeps nothing of a call."""

    info: KindInfo

    @abstractmethod
    async def run(self, call: NodeCall) -> NodeResult:
        """Do the work. Calls ``ports.tasks.begin()`` right before its effect; raises NodeFailed, and AttemptLost lets it pass.

        May be cancelled at any time (timeout, stop): then the work must really have stopped before CancelledError is raised again.
        TimeoutError means that the node took too long.
        """

    def idempotent(self, call: NodeCall) -> bool:
        """Whether an attempt whose outcome is unknown may simply be run again under the same key (default: if the kind is pure)."""
        del call
        return self.info.pure
