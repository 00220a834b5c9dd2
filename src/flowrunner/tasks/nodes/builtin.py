"""The built-in kinds, made of what the server has to offer them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flowrunner.clock import Clock
from flowrunner.ports.documents import DocumentStore
from flowrunner.ports.schedules import ScheduleService
from flowrunner.ports.secrets import NoSecrets, SecretSource
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

    `client` sends requests where `policy` allows it; `programs` may be started; without `documents` there is no store, without `functions`
    no Python, without `schedules` no cron. SQLite's files are below `database_folder`; without it there is only its memory.
    """

    clock: Clock
    client: GuardedClient
    policy: EgressPolicy
    scripting: Scripting
    programs: Programs
    documents: DocumentStore | None = None
    functions: Functions | None = None
    secrets: SecretSource = field(default_factory=NoSecrets)
    schedules: ScheduleService | None = None
    database_folder: Path | None = None


def built_in(services: NodeServices) -> list[NodeKind]:
    """One of each kind that this server can carry out."""
    client, clock, scripting = services.client, services.clock, services.scripting
    secrets, policy, reach = services.secrets, services.policy, Reach(services.policy)
    models = Models(client=client, secrets=secrets)

    def find(name: str) -> NodeKind | None:
        return next((kind for kind in kinds if name in (kind.info.name, *kind.info.aliases)), None)

    kinds: list[NodeKind] = [
        AgentKind(models, clock=clock, find=find, scripting=scripting),
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
