"""The built-in kinds, made of what the server has to offer them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flowrunner.clock import Clock
from flowrunner.ports.documents import DocumentStore
from flowrunner.ports.schedules import ScheduleService
from flowrunner.ports.secrets import SecretSource
from flowrunner.tasks.client import GuardedClient
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.agent import AgentKind
from flowrunner.tasks.nodes.checking import AssertKind
from flowrunner.tasks.nodes.command import Command, Programs
from flowrunner.tasks.nodes.condition import ConditionKind
from flowrunner.tasks.nodes.cron import CronKind
from flowrunner.tasks.nodes.database import DatabaseKind
from flowrunner.tasks.nodes.dynamodb import DynamoKind
from flowrunner.tasks.nodes.emailreceive import EmailReceive
from flowrunner.tasks.nodes.emailsend import EmailSend
from flowrunner.tasks.nodes.httprequest import HttpRequest
from flowrunner.tasks.nodes.kind import NodeKind
from flowrunner.tasks.nodes.llm import LlmKind, Models
from flowrunner.tasks.nodes.mcp import McpKind
from flowrunner.tasks.nodes.reach import Reach
from flowrunner.tasks.nodes.script import Functions, ScriptKind
from flowrunner.tasks.nodes.scripting import Scripting
from flowrunner.tasks.nodes.shelf import Shelf
from flowrunner.tasks.nodes.storing import Store
from flowrunner.tasks.nodes.transform import TransformKind
from flowrunner.tasks.nodes.webhook import Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeServices:
    """What kinds may use.

    `client` sends requests where `policy` allows it, `secrets` are the accounts', `programs` may be started, `database_folder` holds SQLite's
    files. Without `documents` there is no store, without `functions` no Python, without `schedules` no cron. `find` gives the handler of a kind.
    """

    clock: Clock
    client: GuardedClient
    policy: EgressPolicy
    secrets: SecretSource
    scripting: Scripting
    programs: Programs
    find: Callable[[str], NodeKind | None]
    database_folder: Path | None = None
    documents: DocumentStore | None = None
    functions: Functions | None = None
    schedules: ScheduleService | None = None


def built_in(services: NodeServices) -> list[NodeKind]:
    """One of each kind that this server can carry out."""
    client, clock, policy, secrets, scripting = services.client, services.clock, services.policy, services.secrets, services.scripting
    models, reach = Models(client=client, secrets=secrets), Reach(policy)
    kinds: list[NodeKind] = [
        AgentKind(models, clock=clock, find=services.find, scripting=scripting),
        AssertKind(),
        Command(services.programs),
        ConditionKind(scripting),
        DatabaseKind(reach=reach, secrets=secrets, folder=services.database_folder),
        DynamoKind(policy=policy, secrets=secrets, clock=clock),
        EmailReceive(reach=reach, secrets=secrets),
        EmailSend(reach=reach, secrets=secrets, clock=clock),
        HttpRequest(client, clock),
        LlmKind(models),
        McpKind(policy=policy, programs=services.programs),
        ScriptKind(scripting, services.functions),
        TransformKind(scripting),
        Webhook(client, clock),
    ]
    if services.documents is not None:
        kinds.append(Store(Shelf(services.documents, clock)))
    if services.schedules is not None:
        kinds.append(CronKind(services.schedules))
    return kinds
