"""Where executions live: the one contract every store keeps, whatever the database.

An execution is a *head* (one row: status, input, outcome, next wake-up), a *log* (the gap-free sequence of its records,
packed into chunks), a *snapshot* of its machine with the *facts* since, an *inbox* of facts that others left for it, and
its open activity tasks. Texts and bytes in these types are opaque to a store: it never looks inside.

The fence: every head carries an `epoch`, which each commit compares and raises by one in the same transaction. Whoever
read the newest state may write; everybody else gets Fenced and must load again. So no two writers can ever both continue
one execution, dead or paused or partitioned (reliability G2, R13, R15).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"]
VERDICT = "verdict"  # the member of a head's `extra` that tells how an execution came out where its status does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is known of one execution without its history.

    `id` is 32 hex digits, ordered by start time (UUID version 7). `machine` is the state machine's name, `revision` the
    immutable revision it runs. Times are milliseconds since 1970 UTC. `seed` (16 bytes) makes its randomness. `epoch` is
    the fence. `owner` names the nodes that have work of it in hand (sorted, joined by commas; mostly one), None when it only
    waits. `wake_at` is when it must be looked at next, None for never. `last_seq` is the number of records in its log. `extra` is JSON text of rarely used
    attributes (trace header, test case, parent).
    """

    id: str
    account: str
    machine: str
    name: str
    revision: str
    status: Status
    input: str
    seed: bytes
    started_at: int
    epoch: int = 0
    owner: str | None = None
    output: str | None = None
    error: str | None = None
    cause: str | None = None
    stopped_at: int | None = None
    wake_at: int | None = None
    last_seq: int = 0
    extra: str | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one log: `body` is a JSON array (UTF-8) of `count` objects, the first has sequence number `first_seq`."""

    first_seq: int
    count: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """A fact (encoded) for the inbox of another execution; `id` is unique (a second delivery with it changes nothing)."""

    id: str
    execution: str
    fact: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityTask:
    """A task that waits for a worker to ask for it; `attempt` is the attempt's number within its execution."""

    activity: str
    execution: str
    attempt: int
    input: str
    scheduled_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWrite:
    """One step of one execution: everything in it is stored, or nothing.

    `head` is the head after the step, with the epoch that was *read* (0 with `create`); the store writes epoch + 1.
    `create` inserts; otherwise the row must still have that epoch, and `before` is the head as read: a store that keeps
    its own indexes learns from it which entries to move. `chunk` is appended to the log. `facts` (encoded) is
    appended to the facts since the last snapshot, under the number `fact_number`; `snapshot` replaces the snapshot and
    all facts before it. A head whose status is not RUNNING or PENDING_REDRIVE drops snapshot, facts, inbox and open
    activity tasks. `deliveries` go to other executions' inboxes, `consumed` (delivery ids) leave this one's.
    """

    head: Head
    create: bool = False
    before: Head | None = None
    chunk: Chunk | None = None
    fact_number: int = 0
    facts: bytes | None = None
    snapshot: bytes | None = None
    deliveries: tuple[Delivery, ...] = ()
    consumed: tuple[str, ...] = ()
    opened: tuple[ActivityTask, ...] = ()
    closed: tuple[int, ...] = ()  # attempts of this execution whose activity task is no longer open


@dataclass(frozen=True, slots=True)
class Stored:
    """An execution as loaded to go on: its head, the newest snapshot and the facts after it, oldest first, and its inbox."""

    head: Head
    snapshot: bytes | None
    facts: tuple[bytes, ...]
    inbox: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """How far an execution has come: its fence, the length of its log and its status."""

    epoch: int
    last_seq: int
    status: Status


@dataclass(frozen=True, slots=True)
class NameTaken:
    """The answer to a `create` whose (account, machine, name) exists: nothing was written; `head` is the one that has the name."""

    head: Head


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery:
    """Which executions to list, newest start first. `after` is the (started_at, id) of the last row of the page before."""

    account: str
    machine: str | None = None
    status: Status | None = None
    limit: int = 100
    after: tuple[int, str] | None = None


class ExecutionStore(ABC):
    """The executions of every account on one database.

    All methods raise StoreUnavailable when the database does not answer; the caller may repeat the same call. After a
    StoreUnavailable from `commit` the outcome is unknown: load and look at the epoch. Reads see every commit that was
    answered before they began.
    """

    @abstractmethod
    async def commit(self, write: StepWrite) -> Head | NameTaken:
        """Store one step durably and atomically; return the head as stored (epoch raised).

        Concurrent calls are grouped into shared transactions; each still succeeds or fails alone.
        Raises Fenced if the execution's epoch is not `write.head.epoch` (or it does not exist). With `create` and a taken
        name returns NameTaken. Returns only after the write would survive the loss of every process (G1).
        """

    @abstractmethod
    async def load(self, execution: str) -> Stored | None:
        """Everything needed to continue; None if there is no such execution."""

    @abstractmethod
    async def head(self, execution: str) -> Head | None:
        """The head alone, by id."""

    @abstractmethod
    async def positions(self, executions: Sequence[str]) -> Mapping[str, Position]:
        """How far each of these executions has come, in one request where the database allows it; unknown ids are left out."""

    @abstractmethod
    async def find(self, account: str, machine: str, name: str) -> Head | None:
        """The head by its names (which an execution ARN holds)."""

    @abstractmethod
    async def log(self, execution: str, *, after: int = 0, limit: int = 1000, reverse: bool = False) -> Sequence[Chunk]:
        """The chunks that hold the next `limit` records, oldest chunk first (with `reverse`: newest first).

        The records have sequence numbers above `after`; with `reverse` below it, or the last ones when it is 0. Chunks are
        whole: they may hold records outside the range.
        """

    @abstractmethod
    async def list(self, query: ExecutionQuery) -> Sequence[Head]:
        """One page, newest start first, ties by id descending. `input` and `output` may be left empty."""

    @abstractmethod
    async def due(self, now: int, limit: int, *, hide_seconds: float = 0.0) -> Sequence[str]:
        """Ids of running executions without an owner whose wake_at is at or before `now`, earliest first.

        A store that several nodes share may claim them for the caller: it keeps them from every other call for
        `hide_seconds` of its own clock, or until their next commit. The fence decides in any case; a claim saves work.
        """

    @abstractmethod
    async def next_wake(self) -> int | None:
        """The earliest wake_at of a running execution without an owner, hidden ones included."""

    @abstractmethod
    async def undelivered(self, limit: int) -> Sequence[Delivery]:
        """Deliveries that nobody has consumed yet, oldest first."""

    @abstractmethod
    async def activity_tasks(self, activity: str, *, limit: int = 100) -> Sequence[ActivityTask]:
        """Open tasks of an activity (its ARN), oldest first; they stay open until a commit closes them."""

    @abstractmethod
    async def forget(self, execution: str) -> None:
        """Remove an execution that has ended, its log and its name; does nothing to one that is open or not there."""

    # --- the nodes that share the store

    @abstractmethod
    async def beat(self, node: str) -> Mapping[str, int]:
        """Raise the node's counter by one (from 0), and return the counters of all nodes that have not left.

        Who is dead is not the store's judgement, nor a matter of clocks: each node watches whether the others' counters move.
        """

    @abstractmethod
    async def leave(self, node: str) -> None:
        """The node counts no longer: what it owns may be taken over at once. Not an error for an unknown node."""

    @abstractmethod
    async def owners(self) -> Sequence[str]:
        """The nodes that own running executions, whether they still count or not; may name some that own none any more."""

    @abstractmethod
    async def owned(self, node: str, limit: int) -> Sequence[str]:
        """Ids of running executions that this node owns, alone or with others."""
