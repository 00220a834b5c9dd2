"""The named flows with their scripts run by the handler of nodes, in a worker process, with the secrets of a vault."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from flowplay import ROOT, Fails, play

from flowrunner.errors import NotFound
from flowrunner.ports.secrets import Revealed
from flowrunner.ports.tasks import Succeeded, TaskCall
from flowrunner.tasks.javascript.scripts import Scripts
from flowrunner.tasks.nodes.condition import ConditionKind
from flowrunner.tasks.nodes.script import ScriptKind
from flowrunner.tasks.nodes.scripting import Scripting
from flowrunner.tasks.nodes.table import NodeTable
from flowrunner.tasks.nodes.task import NodeTask
from flowrunner.tasks.nodes.transform import TransformKind
from flowrunner.tasks.secrecy import Guarded

COMPLEX, SIMPLE = ((ROOT / "examples" / name).read_text(encoding="utf-8") for name in ("complex_flow.yaml", "simple_branching.yaml"))
VALUES = {"API_KEY": "key-of-the-test", "DB_PASSWORD": "password-of-the-test"}
POOR = "999999999999"


class Vault:
    """Has two secrets, or none for the account that has none."""

    async def reveal(self, account, name, path=None):
        if name not in VALUES or account == POOR:
            raise NotFound("secret", name)
        return Revealed(value=VALUES[name], hidden=(VALUES[name],), type="general", version=1)

    async def names(self, account):
        return [] if account == POOR else list(VALUES)


@pytest.fixture
async def run():
    """Plays a flow in a thread; its tasks are carried out on this loop."""
    async with AsyncExitStack() as stack:
        scripts, vault = Scripts(1), Vault()
        await scripts.start(stack)
        scripting = Scripting(scripts, vault)
        kinds = [TransformKind(scripting), ConditionKind(scripting), ScriptKind(scripting, None)]
        task = Guarded(NodeTask(NodeTable(kinds, []), scripting), vault)
        loop = asyncio.get_running_loop()

        def carry_out(command, account):
            call = TaskCall(
                account=account,
                execution_arn="arn:x",
                machine_arn="arn:y",
                region="us-east-1",
                resource=command.resource,
                parameters=command.parameters,
                attempt=command.attempt,
                execution="e-1",
                state=command.state,
                key=command.key,
                retry=command.retry,
            )
            outcome = asyncio.run_coroutine_threadsafe(task.run(call), loop).result(30)
            if not isinstance(outcome, Succeeded):
                raise Fails(outcome.error, outcome.cause)
            return json.loads(outcome.output)

        def run(text, given, account="000000000000"):
            return asyncio.to_thread(play, text, given, carry_out=lambda command: carry_out(command, account))

        yield run


@pytest.mark.parametrize(("lost", "handler"), [(0, "high_success_handler"), (1, "partial_success_handler"), (2, "low_success_handler")])
async def test_the_complex_flow(run, lost, handler):
    """The share of items that succeeded picks the branch; the secrets are in nothing that is kept."""
    played = await run(COMPLEX, {"fail_batches": lost})
    assert played.path == ["prepare_data", "parallel_processor", "analyze_results", "branch_on_success_rate", handler, "final_summary"]
    summary = played.output["execution_summary"]
    assert summary["items_processed"] == 10 - 3 * lost
    assert summary["secrets"] == {"API_KEY": "********", "DB_PASSWORD": "********"}
    assert not [value for value in VALUES.values() if value in json.dumps(played.records)]


async def test_the_complex_flow_without_its_secrets(run):
    """It is tried three times, handled, and summed up."""
    played = await run(COMPLEX, {}, POOR)
    assert played.path == ["prepare_data", "error_handler", "final_summary"]
    assert played.times("prepare_data") == [0, 100, 200]
    assert "API_KEY, DB_PASSWORD" in played.output["error"]["message"]
    assert played.output["execution_summary"]["secrets"] == {"API_KEY": "not set", "DB_PASSWORD": "not set"}


async def test_the_simple_flow(run):
    """A band for each value, and the error handler."""
    for value, node in ((99, "high_value_processor"), (31, "medium_value_processor"), (0, "low_value_processor")):
        assert (await run(SIMPLE, {"value": value})).path == ["start", "evaluate_category", node, "finalize"]
    assert (await run(SIMPLE, {"value": "x"})).path == ["start", "error_handler", "finalize"]


async def test_what_the_machine_needs_is_computed(run):
    """Durations, items and conditions are scripts as others."""
    nodes = {
        "pause": {"type": "delay", "params": {"duration": "${ input.n * 2 + 'm' }"}, "next": "each"},
        "each": {
            "type": "worker_pool",
            "params": {"items": "${ [...Array(input.n).keys()] }", "item_script": "return item * index + batch.length"},
            "next": "until",
        },
        "until": {"type": "wait", "params": {"condition": "attempt >= 3", "interval": "10s"}, "next": "last"},
        "last": {"type": "transform", "params": {"script": "shared.seen = true; return { each: results.each.batch_results, shared }"}},
    }
    played = await run(json.dumps({"metadata": {"name": "x"}, "nodes": nodes}), {"n": 3})
    assert played.output["each"] == [1, 2, 5]
    assert (played.output["attempts"], played.output["shared"]) == (3, {"seen": True})
    assert played.milliseconds == 6 * 60_000 + 20_000


async def test_what_a_script_may_return_goes_on(run):
    """A mebibyte each, less its quotation marks: the third script sees what the first two returned."""
    large = {"type": "transform", "params": {"script": "return 'x'.repeat(1024 * 1024 - 2)"}}
    last = {"type": "transform", "params": {"script": "return {n: [input.a.length, results.b.length]}"}}
    played = await run(json.dumps({"metadata": {"name": "x"}, "nodes": {"a": {**large, "next": "b"}, "b": {**large, "next": "c"}, "c": last}}), {})
    assert played.output["n"] == [1024 * 1024 - 2] * 2


async def test_a_wait_keeps_what_its_condition_writes(run):
    """Each look sees what the one before it has put into `shared`, and so do the hooks and the next node."""
    nodes = {
        "w": {
            "type": "wait",
            "params": {"condition": "shared.w = (shared.w ?? 0) + 1; return shared.w > 2", "interval": "10ms"},
            "hooks": {"exec": "return {...output, w: shared.w}"},
            "next": "n",
        },
        "n": {"type": "transform", "params": {"script": "return {seen: shared}"}},
    }
    played = await run(json.dumps({"metadata": {"name": "x"}, "nodes": nodes}), {})
    assert played.output == {"met": True, "attempts": 3, "w": 3, "seen": {"w": 3}}


async def test_hooks_of_a_wait_run_once_on_its_result(run):
    """The hook `exec` makes the result of it, not of each look; `post` sees that, and names the edge."""
    nodes = {
        "w": {
            "type": "wait",
            "params": {"condition": "return attempt > 1", "interval": "10ms"},
            "hooks": {"exec": "shared.ran = (shared.ran ?? 0) + 1; return {looks: output.attempts}", "post": "return output.looks === 2 ? 'two' : 'other'"},
            "next": {"two": "n"},
        },
        "n": {"type": "transform", "params": {"script": "return {ran: shared.ran}"}},
    }
    assert (await run(json.dumps({"metadata": {"name": "x"}, "nodes": nodes}), {})).output == {"looks": 2, "ran": 1}


async def test_prep_leaves_batches_and_looks_their_names(run):
    """The hook replaces the input; `items`, `item`, `attempt` and the others are still there, for scripts and for expressions."""
    nodes = {
        "each": {
            "type": "batch",
            "params": {"items": [1, 2], "item_script": "return [item, items.length, index, batch_index, input.q]"},
            "hooks": {"prep": "return {q: item * 10}"},
            "next": "any",
        },
        "any": {
            "type": "script",
            "params": {"script": "return args", "args": {"key": "${'k' + item}"}},
            "batch": {"items": [1, 2]},
            "hooks": {"prep": "return {}"},
            "next": "until",
        },
        "until": {"type": "wait", "params": {"condition": "attempt > 1", "interval": "1s"}, "hooks": {"prep": "return {q: 1}"}},
    }
    played = await run(json.dumps({"metadata": {"name": "x"}, "nodes": nodes}), {})
    made = {note["stepId"]: json.loads(note["output"]) for note in played.notes("StepCompleted")}
    assert made["each"]["batch_results"] == [1, 1, 0, 0, 10, 2, 1, 1, 1, 20]
    assert made["any"]["batch_results"] == [{"key": "k1"}, {"key": "k2"}]
    assert made["until"] == {"met": True, "attempts": 2}
