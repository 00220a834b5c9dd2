"""One execution in memory: its scopes, counters and the step being made. The other modules of the core act on it."""

from __future__ import annotations

import base64
import hmac
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappush
from typing import Any

from flowrunner.core.commands import Command, Outcome, Step
from flowrunner.core.faults import Failure
from flowrunner.core.program import Program
from flowrunner.core.records import Record
from flowrunner.core.scope import NO_BYTES, Attempt, Scope
from flowrunner.entropy import Entropy, derived
from flowrunner.jsonvalue import JSONValue, Payload
from flowrunner.lang.environment import MOST_BYTES, Environment, Meter
from flowrunner.lang.moment import format_timestamp
from flowrunner.limits import Limits

_INTERIM = 4  # times the largest payload, so large a value may be on the way through a state: OutputPath may take a part of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What an execution is called and was given; never changes.

    `id` is the 32 hex digits of the store, `seed` 16 secret bytes, `input` JSON text.
    """

    id: str
    arn: str
    name: str
    machine_arn: str
    machine_name: str
    role_arn: str
    region: str
    account: str
    started_at: int
    seed: bytes
    input: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A scope is through: with an output, or with a failure that nothing in it caught."""

    scope: Scope
    output: Payload | None = None
    failure: Failure | None = None


# A timer: due, scope id, kind, attempt number (0 for pauses). Timers of one moment fire in this order, which a snapshot keeps
# without storing it. Stale ones are recognised when they fire.
Timer = tuple[int, int, str, int]


class Run:
    """The mutable state of one execution, owned by its Machine."""

    def __init__(self, program: Program, identity: Identity, limits: Limits) -> None:
        self.program = program
        self.identity = identity
        self.limits = limits.of_flows() if program.notes else limits
        self.entropy = Entropy(identity.seed)
        self.now = identity.started_at
        self.last_id = 0  # of the newest history event
        self.last_seq = 0  # of the newest record: an event or a note
        self.progress = 0.0  # percent, never falling
        self.steps_ended = 0  # of labelled states
        self.last_scope = 0
        self.last_attempt = 0
        self.fact_count = 0
        self.root: Scope | None = None
        self.deadline: int | None = None
        self.scopes: dict[int, Scope] = {}
        self.attempts: dict[int, Scope] = {}
        self.timers: list[Timer] = []
        self.ready: OrderedDict[int, Scope] = OrderedDict()  # by id, first come first served
        self.ended: OrderedDict[int, Ended] = OrderedDict()
        self.outcome: Outcome | None = None
        self.step = Step()
        self.meter = Meter()
        self.variable_bytes = 0  # of all variables as JSON
        self.written = 0  # characters of the payloads in the step's records
        self._fixed_context: dict[str, JSONValue] | None = None

    # --- the step being made

    def record(
        self, scope: Scope | None, event_type: str, detail_key: str | None = None, detail: dict[str, Any] | None = None, *, previous: int | None = None
    ) -> int:
        """Add a history event and return its id; its causal parent is the scope's last event unless given."""
        if scope is not None and scope.silent:
            return scope.last_event
        self.last_id += 1
        self.last_seq += 1
        entry: Record = {
            "timestamp": self.now / 1000,
            "type": event_type,
            "id": self.last_id,
            "previousEventId": (scope.last_event if scope is not None else 0) if previous is None else previous,
        }
        if detail_key is not None:
            entry[detail_key] = detail
        self.step.records.append(entry)
        return self.last_id

    def note(self, kind: str, note: dict[str, Any]) -> None:
        """Add a record that Step Functions does not know (core/notes.py)."""
        self.last_seq += 1
        self.step.records.append({"timestamp": self.now / 1000, "type": kind, "note": note})

    def advance(self, scope: Scope, event_type: str, detail_key: str | None = None, detail: dict[str, Any] | None = None) -> None:
        """Add a history event that becomes the scope's last one."""
        scope.last_event = self.record(scope, event_type, detail_key, detail)

    def command(self, command: Command) -> None:
        """Ask the engine for something."""
        self.step.commands.append(command)

    def end(self, scope: Scope, *, output: Payload | None = None, failure: Failure | None = None) -> None:
        """The scope is through; the machine settles it with its parent."""
        self.ended[scope.id] = Ended(scope, output, failure)

    # --- time

    def set_timer(self, due: int, scope: int, kind: str, attempt: int = 0) -> None:
        """Remember to look at a scope at this moment."""
        heappush(self.timers, (due, scope, kind, attempt))

    # --- scopes

    def open_scope(self, scope: Scope) -> None:
        """Take a new scope in; it is advanced in this step."""
        self.scopes[scope.id] = self.ready[scope.id] = scope

    def go_on(self, scope: Scope, *, first: bool = False) -> None:
        """The scope can be advanced; `first` puts it before all others."""
        self.ready[scope.id] = scope
        if first:
            self.ready.move_to_end(scope.id, last=False)

    def close_scope(self, scope: Scope) -> None:
        """Forget a scope that is through, with its variables."""
        self.scopes.pop(scope.id, None)
        if scope.variable_bytes:
            self.variable_bytes -= sum(scope.variable_bytes.values())
            scope.variable_bytes = NO_BYTES
        if isinstance(scope.wait, Attempt):
            self.attempts.pop(scope.wait.number, None)
        scope.wait = None

    def drop_scope(self, scope: Scope) -> None:
        """Forget a scope that is given up: nothing of it is left to advance or to settle."""
        self.ready.pop(scope.id, None)
        self.ended.pop(scope.id, None)
        self.close_scope(scope)

    def unassign(self, scope: Scope, names: Sequence[str]) -> None:
        """Forget variables of the scope."""
        self.variable_bytes -= sum(scope.variable_bytes.get(name, 0) for name in names)
        scope.variables = {name: value for name, value in scope.variables.items() if name not in names}
        scope.variable_bytes = {name: size for name, size in scope.variable_bytes.items() if name not in names}

    def assign(self, scope: Scope, values: dict[str, JSONValue], texts: dict[str, str]) -> None:
        """Give the scope's variables new values; `texts` are these as JSON."""
        scope.variables = {**scope.variables, **values}
        self.variable_bytes -= sum(scope.variable_bytes.values())
        scope.variable_bytes = {**scope.variable_bytes, **{name: Payload(text=text).size() for name, text in texts.items()}}
        self.variable_bytes += sum(scope.variable_bytes.values())

    def next_scope(self) -> int:
        """A new scope's number."""
        self.last_scope += 1
        return self.last_scope

    # --- what expressions see

    def context(self, scope: Scope, token: str | None = None) -> dict[str, JSONValue]:
        """The context object (``$$``, ``$states.context``): https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html."""
        fixed = self._fixed_context
        if fixed is None:
            who = self.identity
            fixed = self._fixed_context = {
                "Execution": {
                    "Id": who.arn,
                    "Input": Payload(text=who.input).value,
                    "StartTime": format_timestamp(who.started_at),
                    "Name": who.name,
                    "RoleArn": who.role_arn,
                    "RedriveCount": 0,
                },
                "StateMachine": {"Id": who.machine_arn, "Name": who.machine_name},
            }
        state: dict[str, JSONValue] = {"Name": scope.state.name, "EnteredTime": format_timestamp(scope.entered_at)}
        if scope.state.kind in ("Task", "Map", "Parallel"):
            state["RetryCount"] = scope.retry_count
        context = {**fixed, "State": state}
        if token is not None:
            context["Task"] = {"Token": token}
        item = nearest_item(scope)
        if item is not None:
            context["Map"] = {"Item": item}
        return context

    def environment(self, scope: Scope, document: JSONValue, *, token: str | None = None, **states: JSONValue) -> Environment:
        """What an expression of the scope's state sees; `states` are further members of ``$states``."""
        context = self.context(scope, token)
        return Environment(
            document=document,
            context=context,
            variables=scope.visible_variables(),
            states={"input": scope.input.value, "context": context, **states} if scope.state.language == "JSONata" else None,
            execution=self.identity.id,
            entropy=self.entropy,
            now=self.now,
            meter=self.meter,
            payload_bytes=self.limits.payload_bytes,
            most_bytes=min(MOST_BYTES, self.limits.payload_bytes * _INTERIM or MOST_BYTES),
        )

    # --- tokens

    def token(self, attempt: int) -> str:
        """The task token of an attempt: names the execution and the attempt, and proves to know the execution's seed."""
        secret = derived(self.identity.seed, "token", attempt)
        return base64.urlsafe_b64encode(bytes.fromhex(self.identity.id) + attempt.to_bytes(4, "big") + secret).decode()

    def owns(self, token: str, attempt: int) -> bool:
        """Whether this is the token of that attempt, compared in constant time."""
        return hmac.compare_digest(token.encode(), self.token(attempt).encode())


def nearest_item(scope: Scope | None) -> JSONValue:
    """The Map item a scope belongs to, its own or its parents'."""
    while scope is not None:
        if scope.item is not None:
            return scope.item
        scope = scope.parent
    return None


def read_token(token: str) -> tuple[str, int] | None:
    """The execution's id and the attempt a task token names, unproven; None for what is no token."""
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii"))
    except (ValueError, UnicodeEncodeError):
        return None
    return (raw[:16].hex(), int.from_bytes(raw[16:20], "big")) if len(raw) == 36 else None
