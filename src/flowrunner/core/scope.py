"""The tree of scopes: one thread of control each — the execution itself, a parallel branch, a map iteration.

A scope stands in one state of its branch. What it waits for is its `wait`: a pause until a moment, an attempt that runs
somewhere, or the group of child scopes it opened. No wait means that the machine will advance it in this step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from flowrunner.core.program import Branch, MapWork, State
from flowrunner.jsonvalue import JSONValue, Payload


@dataclass(slots=True)
class Pause:
    """Waits until `due` (milliseconds since 1970 UTC): a Wait state, or the delay before a retry."""

    due: int
    kind: Literal["wait", "retry"]


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt of a task that has been asked for. Times are milliseconds since 1970 UTC.

    `job` is what the call that started a job answered (JSON text); `early` is the end of its job (a fact, encoded) that came before the call that started the job was answered.
    """

    number: int
    status: Literal["scheduled", "started", "submitted"] = "scheduled"
    parameters: str
    token: str | None = None
    credentials: str | None = None
    due: int | None = None
    heartbeat_seconds: int | None = None
    heartbeat_due: int | None = None
    job: str | None = None
    early: str | None = None


@dataclass(frozen=True, slots=True)
class Batching:
    """How the items of a Map are batched: at most `most` items and `largest` bytes each, with what all of them share."""

    most: int | None
    largest: int | None
    shared: Payload | None


@dataclass(slots=True, kw_only=True)
class Group:
    """The children a Parallel or Map state opened.

    `items` are the values of a Map that are not yet running from `next_item` on, `given` its effective input if they need it; without
    `batching` each is a child of its own. `total` counts children, for a Map its items; so do `failed` and the tolerated failures. `results`
    has a place per child at least. `last_event` is the id of the last event of the child that ended last: the causal parent of what follows
    the group. A scope that waits for a group and is ready all the same has iterations to open. `reason` tells why a loop opens no more of them.
    With `keyed` the items are the members of an object, each ``{"Key", "Value"}``.
    """

    total: int
    limit: int
    results: list[Payload | None]
    items: list[JSONValue] | None = None
    given: Payload | None = None
    batching: Batching | None = None
    next_index: int = 0
    next_item: int = 0
    open: dict[int, Scope] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    first_event: int = 0
    last_event: int = 0
    tolerated_count: int | None = None
    tolerated_percentage: float | None = None
    map_run: str | None = None
    reason: str | None = None
    keyed: bool = False


Waiting = Pause | Attempt | Group


NO_BYTES: Mapping[str, int] = {}


class Scope:
    """One thread of control; see the module's docstring."""

    __slots__ = (
        "branch",
        "entered_at",
        "entered_event",
        "id",
        "index",
        "input",
        "item",
        "last_event",
        "noted",
        "opened_at",
        "parent",
        "passed",
        "previous_event",
        "resuming",
        "retries",
        "silent",
        "state",
        "undecided",
        "variable_bytes",
        "variables",
        "wait",
    )

    def __init__(self, *, number: int, branch: Branch, state: State, given: Payload, parent: Scope | None = None, index: int = 0) -> None:
        self.id = number
        self.branch = branch
        self.parent = parent
        self.index = index  # the branch's or iteration's number within the parent's group
        self.state = state
        self.input = given
        self.item: JSONValue = None  # the context object's Map member, for an iteration
        self.variables: dict[str, JSONValue] = {}
        self.variable_bytes = NO_BYTES  # of each variable as JSON
        self.wait: Waiting | None = None
        self.resuming = False  # the next advance tries the state again instead of entering it
        self.undecided = False  # whether the state is skipped is not known yet: its condition is still to be looked at
        self.opened_at = 0  # when its iteration of a loop began, milliseconds since 1970 UTC
        self.passed = 0.0  # percent of the whole that has ended within it (core/progress.py)
        self.noted = False  # the note that the state's step has started is in the log, the one that it has ended is not
        self.retries: list[int] = []  # how often each retrier was used since the state was entered
        self.last_event = 0
        self.entered_event = 0
        self.previous_event = 0
        self.entered_at = 0
        self.silent: bool = parent.silent if parent else False  # its events are not in the history (distributed map)

    def visible_variables(self) -> dict[str, JSONValue]:
        """Variables by name, inner ones first; not to be changed. The children of a distributed Map see none around it.

        Step Functions Developer Guide, "Passing data between states with variables".
        """
        if self.parent is None or (isinstance(self.parent.state.work, MapWork) and self.parent.state.work.distributed):
            return self.variables
        outer = self.parent.visible_variables()
        if not outer:
            return self.variables
        return {**outer, **self.variables} if self.variables else outer

    @property
    def retry_count(self) -> int:
        """How often the current state was tried again."""
        return sum(self.retries)
