"""Each example does what its README says: outputs, and the path of states from the history."""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import datetime
from types import SimpleNamespace

import pytest
from served_examples import EXAMPLES, exited, visited

from flowrunner.asl.parse import parse_definition

DEFINITIONS = sorted(EXAMPLES.glob("*/*.asl.json"))


@pytest.mark.parametrize("file", DEFINITIONS, ids=lambda file: file.parent.name)
def test_a_definition_is_valid_without_a_warning(file):
    parsed = parse_definition(file.read_text(encoding="utf-8"))
    assert parsed.program is not None
    assert list(parsed.diagnostics) == []


@pytest.mark.parametrize("folder", sorted({file.parent for file in DEFINITIONS}), ids=lambda folder: folder.name)
def test_an_example_tells_how_to_run_it(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "flowrunner" in text
    for given in folder.glob("*.json"):
        assert given.name in text, f"{folder.name}/README.md does not mention {given.name}"


# --- order


def order_of(example, name="input", **simulate):
    order = json.loads(example.input(name))
    order["simulate"] = {**order.get("simulate", {}), "workSeconds": 0, **simulate}
    return json.dumps(order)


async def test_an_order_is_fulfilled_in_four_branches_and_a_busy_payment_is_tried_again(served):
    example = await served("order_processing")
    run = await example.start(order_of(example))
    for failures in (1, 2):
        await example.seen(run, "TaskFailed", count=failures)
        example.clock.jump(2)
    run, history = await example.ended(run)
    assert run["executionStatus"] == "SUCCEEDED"
    assert run["output"] == {
        "orderId": "1001",
        "status": "confirmed",
        "totalCents": 7400,
        "inventory": {"reservation": "res-1001", "articles": 2},
        "payment": {"payment": "pay-1001", "chargedCents": 7400, "retries": 2},
        "notification": {"notified": "ada@example.com", "status": "sent"},
        "shipping": {"parcel": "box-1001", "to": "London"},
    }
    branches = {"InventoryReservation", "PaymentProcessing", "CustomerNotification", "ShippingPreparation"}
    assert visited(history)[:2] == ["ValidateOrder", "FulfilOrder"]
    assert set(visited(history)[2:6]) == branches <= set(exited(history))
    assert visited(history)[6:] == ["ConfirmOrder"]
    assert [event["taskFailedEventDetails"]["error"] for event in history if event["type"] == "TaskFailed"] == ["PaymentGatewayBusy"] * 2


async def test_a_declined_payment_rolls_the_order_back(served):
    example = await served("order_processing")
    run, history = await example.run(order_of(example, "declined"))
    assert run["executionStatus"] == "SUCCEEDED"
    assert run["output"] == {
        "orderId": "1002",
        "status": "rolled_back",
        "reason": "PaymentDeclined",
        "undone": [{"released": "res-1002"}, {"refunded": "pay-1002"}, {"cancelled": "box-1002"}],
    }
    assert visited(history)[:2] == ["ValidateOrder", "FulfilOrder"]
    assert visited(history)[6:] == ["Rollback", "InventoryRelease", "PaymentRefund", "ShippingCancellation", "OrderRolledBack"]


async def test_an_order_that_is_none_is_rejected(served):
    example = await served("order_processing")
    run, history = await example.run(order_of(example, "invalid"))
    assert (run["executionStatus"], run["error"], run["cause"]) == ("FAILED", "InvalidOrder", "The quantity of MUG-2 is 0.")
    assert visited(history) == ["ValidateOrder", "OrderRejected"]


def test_a_ledger_has_a_line_when_a_handler_begins_and_one_when_its_effect_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("ORDER_LEDGER", str(tmp_path / "ledger"))
    functions = loaded("order_processing", "functions")
    context = SimpleNamespace(function_name="ReserveInventory", idempotency_key="e/1")
    order = {"orderId": "7", "items": [{"sku": "A", "quantity": 101}], "simulate": {"workSeconds": 0}}
    with pytest.raises(functions.OutOfStock, match="101 of A were ordered"):
        functions.reserve_inventory(order, context)
    functions.reserve_inventory({**order, "items": []}, context)
    lines = [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()]
    assert [line["phase"] for line in lines] == ["begin", "begin", "effect"]
    assert {(line["function"], line["order"], line["key"]) for line in lines} == {("ReserveInventory", "7", "e/1")}


def loaded(folder, name):
    spec = importlib.util.spec_from_file_location(f"example_{folder}_{name}", EXAMPLES / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# --- choice, map, wait


@pytest.mark.parametrize(
    ("name", "given", "state", "output"),
    [
        ("high", {"priority": "high", "amount": 1000}, "HighPriorityProcessing", "priority_processed"),
        ("bulk", {"type": "bulk", "quantity": 500}, "BulkProcessing", "bulk_processed"),
        ("standard", {"type": "standard", "amount": 100}, "StandardProcessing", "standard_processed"),
    ],
)
async def test_a_choice_goes_one_of_three_ways(served, name, given, state, output):
    example = await served("choice")
    assert json.loads(example.input(name)) == given
    run, history = await example.run(example.input(name))
    assert (run["executionStatus"], run["output"]) == ("SUCCEEDED", output)
    assert visited(history) == ["KindOfOrder", state]


async def test_a_choice_that_nothing_fits_says_so(served):
    example = await served("choice")
    run, history = await example.run('{"type": "other"}')
    assert (run["executionStatus"], run["error"]) == ("FAILED", "UnknownKind")
    assert visited(history) == ["KindOfOrder", "UnknownKind"]


async def test_a_map_does_a_hundred_items_and_keeps_their_order(served):
    example = await served("map")
    items = json.loads(example.input())["items"]
    run, history = await example.run(example.input())
    assert run["executionStatus"] == "SUCCEEDED"
    assert run["output"]["count"] == len(items) == 100
    assert run["output"]["results"] == [
        {"position": at, "id": item["id"], "totalCents": item["quantity"] * item["priceCents"]} for at, item in enumerate(items)
    ]
    assert visited(history).count("ValidateItem") == visited(history).count("PriceItem") == 100
    running = most = 0
    for event in history:
        running += (event["type"] == "MapIterationStarted") - (event["type"] == "MapIterationSucceeded")
        most = max(most, running)
    assert most == 10


async def test_a_map_stops_at_an_item_that_is_not_valid(served):
    example = await served("map")
    run, history = await example.run('{"items": [{"id": "a", "quantity": 0, "priceCents": 1}]}')
    assert (run["executionStatus"], run["error"]) == ("FAILED", "InvalidItem")
    assert visited(history) == ["PriceItems", "ValidateItem", "InvalidItem"]


@pytest.mark.parametrize(
    ("name", "state", "seconds"),
    [("seconds", "WaitSeconds", 5), ("seconds_path", "WaitSecondsPath", 3), ("timestamp", "WaitTimestamp", 10)],
)
async def test_a_wait_takes_as_long_as_it_says(served, name, state, seconds):
    example = await served("wait")
    run = await example.start(example.input(name))
    await example.seen(run, "WaitStateEntered")
    example.clock.jump(seconds - 0.001)
    assert (await example.client.run(run["runId"]))["executionStatus"] == "RUNNING"
    example.clock.jump(0.001)
    run, history = await example.ended(run)
    assert (run["executionStatus"], run["output"]) == ("SUCCEEDED", {"strategy": name, "status": "waited"})
    assert visited(history) == ["Strategy", state, "Waited"]
    assert run["duration"] == seconds * 1000


async def test_a_wait_takes_until_the_moment_of_the_input(served):
    example = await served("wait")
    given = json.loads(example.input("timestamp_path"))
    run = await example.start(example.input("timestamp_path"))
    await example.seen(run, "WaitStateEntered")
    example.clock.jump(datetime.fromisoformat(given["until"]).timestamp() - example.clock.now() / 1000)
    run, history = await example.ended(run)
    assert (run["executionStatus"], run["output"]) == ("SUCCEEDED", {"strategy": "timestamp_path", "status": "waited"})
    assert visited(history) == ["Strategy", "WaitTimestampPath", "Waited"]
    assert run["endTime"] == "2024-01-01T00:00:00.000Z"


# --- approval


class Answers:
    """Stands for boto3's client, with the calls of ``approve.py`` put down."""

    class _Never(Exception):
        pass

    exceptions = SimpleNamespace(TaskTimedOut=_Never, TaskDoesNotExist=_Never, InvalidToken=_Never)

    def __init__(self, history):
        self.history = history
        self.called = None

    def get_paginator(self, operation):
        assert operation == "get_execution_history"
        return self

    def paginate(self, *, executionArn, reverseOrder):  # noqa: N803 - boto3's names
        assert reverseOrder
        return [{"events": self.history[::-1]}]

    def send_task_success(self, **parameters):
        self.called = ("SendTaskSuccess", parameters)

    def send_task_failure(self, **parameters):
        self.called = ("SendTaskFailure", parameters)


@pytest.mark.parametrize(
    ("reject", "told", "output"),
    [
        (None, "Approved.", {"status": "approved", "by": "Grace", "purchase": {"what": "a coffee machine", "amountCents": 34900}}),
        ("too dear", "Rejected.", {"status": "rejected", "because": "too dear"}),
    ],
)
async def test_an_approval_waits_for_its_token(served, reject, told, output):
    example = await served("approval")
    run = await example.start(example.input())
    await example.seen(run, "TaskSubmitted")
    example.clock.jump(3600)
    answers = Answers([event async for event in example.client.history(run["executionArn"])])
    assert loaded("approval", "approve").answer(answers, run["executionArn"], by="Grace", reject=reject) == told
    operation, parameters = answers.called
    await example.client.call(operation, **parameters)
    run, history = await example.ended(run)
    assert (run["executionStatus"], run["output"]) == ("SUCCEEDED", output)
    assert visited(history) == ["AskForApproval", "Approved" if reject is None else "Rejected"]


async def test_an_approval_expires_after_a_day(served):
    example = await served("approval")
    run = await example.start(example.input())
    await example.seen(run, "TaskSubmitted")
    example.clock.jump(86400)
    run, history = await example.ended(run)
    assert (run["executionStatus"], run["error"]) == ("FAILED", "Expired")
    assert visited(history) == ["AskForApproval", "Expired"]
