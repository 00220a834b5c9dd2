"""The world of accounts with flows and workflows in it, on an engine that runs them."""

import os
from contextlib import asynccontextmanager

from accountsworld import ONE, accounts_world

from flowrunner.api.authoring import Authoring, Beginner
from flowrunner.asl.parse import parse_definition
from flowrunner.definitions.schedules import Schedules
from flowrunner.definitions.service import Definitions
from flowrunner.definitions.testruns import TestRuns
from flowrunner.definitions.webhooks import Webhooks
from flowrunner.engine.engine import Engine
from flowrunner.errors import InvalidDefinition
from flowrunner.identity.permissions import Role
from flowrunner.kinds import KINDS
from flowrunner.ports.tasks import TaskHandler
from flowrunner.reading.parsed import Parsed

OWNER, ADMIN, EDITOR, VIEWER, WORKER = ((ONE, role) for role in Role)


def read(text, around):
    """State machines stand for flows: what these tests are about does not depend on the format."""
    parsed = parse_definition(text)
    return Parsed(parsed.program, parsed.diagnostics, name=parsed.program and parsed.program.comment)


def compiled(revision):
    parsed = parse_definition(revision.definition)
    if parsed.program is None:
        raise InvalidDefinition("not this release's", parsed.diagnostics)
    return parsed.program


class NoTasks(TaskHandler):
    async def run(self, call):
        raise AssertionError

    def resolve(self, call):
        return self


class NoStarts:
    async def check(self, account, format, target):  # noqa: A002
        return None


@asynccontextmanager
async def flows_world(**settings):
    made = {}

    async def also(store, clock, stack):
        engine = Engine(store=store, compiler=compiled, tasks=NoTasks(), clock=clock, randomness=os.urandom, region="us-east-1")
        await engine.start(stack)
        common = {"parse": read, "clock": clock, "randomness": os.urandom}
        flows = Definitions(store, form="flow", **common)
        workflows = Definitions(store, form="workflow", reserved=frozenset({"runs", "validate"}), **common)
        cases = Definitions(store, form="test", **common)
        made.update(store=store, engine=engine)
        authoring = Authoring(
            store=store, runner=engine, flows=flows, workflows=workflows, cases=cases, schedules=Schedules(store.documents, NoStarts(), clock), clock=clock,
            testruns=TestRuns(store, Beginner(engine), ended=engine.feed.ended, clock=clock, report=print),
            webhooks=Webhooks(store, clock), region="us-east-1", kinds=KINDS, plugins={},
        )  # fmt: skip
        made["authoring"] = authoring
        return {"authoring": authoring, "feed": engine.feed}

    async with accounts_world(also=also, **settings) as world:
        world.store, world.engine, world.authoring = made["store"], made["engine"], made["authoring"]
        yield world


def asker(world, prefix):
    """A function that asks a route below `prefix` and wants this status; the caller is an editor unless told otherwise."""

    async def ask(method, path, body=None, status=200, *, token=EDITOR, headers=None):
        credential = {"authorization": f"Bearer {world.tokens[token]}"}
        answer = await world.client.request(method, f"{prefix}{path}", json=body, headers={**(headers or {}), **credential})
        assert answer.status_code == status, answer.text
        return answer

    return ask
