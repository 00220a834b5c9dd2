"""What the operations work with, and what most of them do first: find the thing an ARN names, if it is the caller's."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowrunner.api.aws.faults import AwsFault, invalid_arn, no_execution, no_machine
from flowrunner.asl.parse import Parsed, parse_definition
from flowrunner.definitions.entries import is_ours
from flowrunner.errors import InvalidDefinition
from flowrunner.identity.principal import Principal
from flowrunner.ids import Arn, parse_arn
from flowrunner.limits import AWS, Limits
from flowrunner.reading.findings import format_aws

if TYPE_CHECKING:
    from flowrunner.clock import Clock
    from flowrunner.engine.engine import Engine
    from flowrunner.ports.definitions import Machine, MachineType, Revision
    from flowrunner.ports.executions import Head
    from flowrunner.ports.store import Store

Request = dict[str, Any]
Answer = dict[str, Any] | bytes  # bytes: the JSON text of an answer, already made

KEPT_REFERENCES = 1000
THREAD_CHARACTERS = 32_768  # definitions longer than this are read beside the event loop: 1 MiB takes a good part of a second
DEFAULT_PAGE = 100  # AWS's page size when maxResults is 0 or absent
MILLISECONDS = 1000


def _random_id() -> str:
    return str(uuid.uuid4())


@dataclass(slots=True, kw_only=True)
class Service:
    """The engine and the store behind the operations. `activity_poll_seconds` is how long GetActivityTask waits for a task."""

    engine: Engine
    store: Store
    clock: Clock
    region: str
    limits: Limits = AWS
    activity_poll_seconds: float = 60.0
    has_test_case: Callable[[str, str], bool] = lambda _machine, _case: False
    new_id: Callable[[], str] = _random_id
    _references: OrderedDict[str, Mapping[str, Any]] = field(default_factory=OrderedDict)

    # --- definitions

    async def read_definition(self, text: str, kind: MachineType, *, kept: bool = False) -> Parsed:
        """Read and check a definition; `kept`: one that was accepted before."""
        if len(text) > THREAD_CHARACTERS:
            return await asyncio.to_thread(parse_definition, text, kind=kind, kept=kept)
        return parse_definition(text, kind=kind, kept=kept)

    async def accept_definition(self, text: str, kind: MachineType, revision: str, *, kept: bool = False) -> None:
        """Read a definition that is to become this revision; raises InvalidDefinition."""
        parsed = await self.read_definition(text, kind, kept=kept)
        if parsed.program is None:
            raise InvalidDefinition(format_aws(parsed.diagnostics), parsed.diagnostics)
        self._keep(revision, parsed)

    async def variable_references(self, revision: Revision, kind: MachineType) -> Mapping[str, Any]:
        """Which variables each state of a revision refers to."""
        known = self._references.get(revision.id)
        return known if known is not None else self._keep(revision.id, await self.read_definition(revision.definition, kind, kept=True))

    def _keep(self, revision: str, parsed: Parsed) -> Mapping[str, Any]:
        found: Mapping[str, Any] = {} if parsed.program is None else {name: list(used) for name, used in parsed.program.variable_references.items()}
        self._references[revision] = found
        if len(self._references) > KEPT_REFERENCES:
            self._references.popitem(last=False)
        return found

    # --- things by ARN

    def own_arn(self, caller: Principal, text: str, kinds: tuple[str, ...], action: str, absent: Callable[[str], AwsFault]) -> Arn:
        """The parsed ARN of something of one of these kinds in the caller's account and this region; raises AwsFault."""
        arn = parse_arn(text)
        if arn is None:
            raise invalid_arn(f"Invalid ARN prefix: {text}")
        if arn.kind not in kinds:
            raise invalid_arn(f"Resource type not valid in this context: {arn.kind}")
        if arn.account != caller.account:
            raise AwsFault(
                "AccessDeniedException",
                f"User: arn:aws:iam::{caller.account}:root is not authorized to perform: states:{action} on resource: {text}"
                f" because no resource-based policy allows the states:{action} action",
            )
        if arn.region != self.region or (arn.kind == "stateMachine" and is_ours(arn.name)):  # flows and workflows are not AWS's
            raise absent(text)
        return arn

    async def machine(self, caller: Principal, text: str, action: str) -> Machine:
        """The state machine of an ARN; raises AwsFault."""
        arn = self.own_arn(caller, text, ("stateMachine",), action, no_machine)
        machine = await self.store.definitions.machine(arn.account, arn.name) if arn.qualifier is None else None
        if machine is None:
            raise no_machine(text)
        return machine

    async def execution(self, caller: Principal, text: str, action: str) -> Head:
        """The head of a standard execution by its ARN; raises AwsFault."""
        arn = self.own_arn(caller, text, ("execution",), action, no_execution)
        head = await self.store.executions.find(arn.account, arn.name, arn.execution or "")
        if head is None:
            raise no_execution(text)
        return head


Handler = Callable[[Service, Principal, Request], Awaitable[Answer]]
