"""Real processes are killed in the middle of real runs: they end all the same, and nothing ran again that was not allowed to."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from order_server import IDEMPOTENT, attempts, failures, until

from flowrunner.errors import FlowRunnerError

BRANCHES = ("ReserveInventory", "ProcessPayment", "NotifyCustomer", "PrepareShipping")
ORDER = {"ValidateOrder", "ConfirmOrder", *BRANCHES}


def validated(server, execution):
    return server.done()["ValidateOrder"]


def handlers_run(server, execution):
    lost = {function for function, _ in failures(server.history(execution))}  # a crash may come between an attempt's start and its handler
    return all(server.began()[name] or name in lost for name in BRANCHES)


def payment_waits_for_its_retry(server, execution):
    events = server.history(execution)
    failed = [error for function, error in failures(events) if function == "ProcessPayment"]
    return failed[-1:] == ["PaymentGatewayBusy"] and attempts(events)["ProcessPayment"] == len(failed)


def branches_joined(server, execution):
    return any(event["type"] == "ParallelStateSucceeded" for event in server.history(execution))


def confirmed(server, execution):
    return server.done()["ConfirmOrder"]


def assert_nothing_ran_without_leave(server, execution, kills):
    """Compare the ledger with the history: every attempt that ran had its start stored, and ran again only where that is allowed."""
    events = server.history(execution)
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    run = asyncio.run(run_of(server, execution))["runId"]
    began = Counter((line["function"], line["key"]) for line in server.ledger() if line["phase"] == "begin")
    assert {key.rsplit("/", 1)[0] for _, key in began} == {run}
    started, failed = attempts(events), Counter(failures(events))
    for function in ORDER:
        keys = {key for name, key in began if name == function}
        assert len(keys) <= started[function], f"{function} ran in an attempt that was not stored as started"
        assert server.done()[function] >= 1 or (function, "FlowRunner.OutcomeUnknown") in failed
        for key in keys:
            most = 1 + kills if function in IDEMPOTENT else 1
            assert began[function, key] <= most, f"{function} ran again under the key {key}"
        if function in IDEMPOTENT:
            assert started[function] == 1
        # Each further attempt is one that a Retry answered a failure with; NotifyCustomer has none.
        assert started[function] <= 1 + sum(count for (name, _), count in failed.items() if name == function)
    assert server.began()["NotifyCustomer"] <= 1
    assert started["NotifyCustomer"] == 1
    assert {error for _, error in failed} <= {"PaymentGatewayBusy", "FlowRunner.OutcomeUnknown"}
    assert sum(count for (_, error), count in failed.items() if error == "FlowRunner.OutcomeUnknown") <= kills * (len(BRANCHES) - 1)


async def run_of(server, execution):
    async with server.client() as client:
        return await client.run(execution)


@pytest.mark.parametrize(
    "moments",
    [
        [validated],
        [handlers_run],
        [payment_waits_for_its_retry],
        [branches_joined],
        [confirmed],
        [validated, handlers_run, payment_waits_for_its_retry, branches_joined],
    ],
    ids=lambda moments: "-".join(moment.__name__ for moment in moments),
)
def test_a_killed_order_ends_succeeded(server, moments):
    execution = server.order(workSeconds=0.2, paymentBusy=2 if len(moments) > 1 else 1)
    for moment in moments:
        until(lambda moment=moment: moment(server, execution), moment.__name__)
        server.kill()
        server.start()
    outcome = server.ended(execution)
    assert outcome["status"] == "SUCCEEDED", outcome
    output = json.loads(outcome["output"])
    assert (output["status"], output["payment"]["chargedCents"], output["shipping"]["parcel"]) == ("confirmed", 7400, "box-1001")
    assert output["notification"]["status"] in ("sent", "in_doubt")
    assert_nothing_ran_without_leave(server, execution, len(moments))


STARTS = 300
WAITING = {"StartAt": "Note", "States": {"Note": {"Type": "Pass", "Next": "Wait"}, "Wait": {"Type": "Wait", "Seconds": 1, "End": True}}}


def test_a_start_that_was_acknowledged_outlives_a_kill_under_load(server):
    machine = server.machine("waiting", json.dumps(WAITING))
    acknowledged = asyncio.run(start_until_killed(server, machine))
    assert len(acknowledged) >= STARTS // 3
    server.start()
    for name, arn in acknowledged.items():
        outcome = server.ended(arn)
        assert (outcome["name"], outcome["status"], json.loads(outcome["output"])) == (name, "SUCCEEDED", {"n": name})


async def start_until_killed(server, machine):
    """Start many at once, and kill the server when a third has its answer: those that have."""
    acknowledged = {}
    names = iter([f"run-{number}" for number in range(STARTS)])

    async def caller(client):
        for name in names:
            try:
                started = await client.call("StartExecution", stateMachineArn=machine, name=name, input=json.dumps({"n": name}))
            except FlowRunnerError:  # it was killed
                return
            acknowledged[name] = started["executionArn"]
            if len(acknowledged) == STARTS // 3:
                server.kill()

    async with server.client() as client:
        await asyncio.gather(*(caller(client) for _ in range(20)))
    return acknowledged


# --- SIGTERM


def test_a_server_that_is_told_to_stop_lets_attempts_finish(server):
    execution = server.order(workSeconds=0.5)
    until(lambda: handlers_run(server, execution), "all handlers run")
    assert server.terminate() == 0
    assert set(server.done()) >= {"ValidateOrder", *BRANCHES}
    server.start()
    assert server.ended(execution)["status"] == "SUCCEEDED"
    assert failures(server.history(execution)) == []
    assert server.began() == server.done() == dict.fromkeys(ORDER, 1)


def test_a_server_that_is_told_to_stop_hands_over_what_takes_too_long(server):
    assert server.terminate() == 0
    server.start(FLOWRUNNER_DRAIN_SECONDS="0.2")
    execution = server.order(workSeconds=1)
    until(lambda: handlers_run(server, execution), "all handlers run")
    assert server.terminate() == 0
    assert not any(server.done()[name] for name in BRANCHES)
    server.start()
    outcome = server.ended(execution)
    assert outcome["status"] == "SUCCEEDED", outcome
    assert json.loads(outcome["output"])["notification"]["status"] == "in_doubt"
    assert_nothing_ran_without_leave(server, execution, 1)
