"""The built-in kinds, made of what the server has to offer them."""

from __future__ import annotations

from dataclasses import dataclass

from flowrunner.clock import Clock
from flowrunner.ports.documents import DocumentStore
from flowrunner.tasks.client import GuardedClient
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.checking import AssertKind
from flowrunner.tasks.nodes.command import Command, Programs
from flowrunner.tasks.nodes.condition import ConditionKind
from flowrunner.tasks.nodes.httprequest import HttpRequest
from flowrunner.tasks.nodes.kind import NodeKind
from flowrunner.tasks.nodes.script import Functions, ScriptKind
from flowrunner.tasks.nodes.scripting import Scripting
from flowrunner.tasks.nodes.shelf import Shelf
from flowrunner.tasks.nodes.storing import Store
from flowrunner.tasks.nodes.transform import TransformKind
from flowrunner.tasks.nodes.webhook import Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeServices:
    """What kinds may use.

    `client` sends requests where `policy` allows it; `programs` may be started; without `documents` there is no store, without `functions`
    no Python.
    """

    clock: Clock
    client: GuardedClient
    policy: EgressPolicy
    scripting: Scripting
    programs: Programs
    documents: DocumentStore | None = None
    functions: Functions | None = None


def built_in(services: NodeServices) -> list[NodeKind]:
    """One of each kind that this server can carry out."""
    client, clock, scripting = services.client, services.clock, services.scripting
    kinds: list[NodeKind] = [
        AssertKind(),
        Command(services.programs),
        ConditionKind(scripting),
        HttpRequest(client, clock),
        ScriptKind(scripting, services.functions),
        TransformKind(scripting),
        Webhook(client, clock),
    ]
    if services.documents is not None:
        kinds.append(Store(Shelf(services.documents, clock)))
    return kinds
