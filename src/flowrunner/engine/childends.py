"""Nested executions: how the end of a child becomes the result of the attempt that started it."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from flowrunner.core import facts
from flowrunner.core.commands import Outcome
from flowrunner.core.faults import TASK_FAILED, handed_up
from flowrunner.engine.live import Live, arn_of, extra_of, name_of
from flowrunner.ids import machine_arn
from flowrunner.jsonvalue import JSONValue, Payload, dumps
from flowrunner.limits import MAX_CAUSE_CHARACTERS, MAX_ERROR_CHARACTERS
from flowrunner.ports.executions import Delivery

LEAST_INPUT = 1024  # characters of a failed child's input that its description keeps beside a long cause


def end_delivery(live: Live, outcome: Outcome, region: str) -> tuple[Delivery, ...]:
    """The fact a parent waits for, if one does: stored in the same commit as the child's end."""
    parent: dict[str, Any] | None = extra_of(live.head).get("parent")
    if parent is None or parent["wait"] is None:
        return ()
    attempt = parent["attempt"]
    if outcome.status == "SUCCEEDED":
        result = dumps(_description(live, outcome, region, as_json=parent["wait"] == "json"))
        fact: facts.Fact = facts.AttemptSucceeded(at=outcome.at, attempt=attempt, output=result, job=True)
    else:
        fact = facts.AttemptFailed(at=outcome.at, attempt=attempt, error=TASK_FAILED, cause=_cause(live, outcome, region), job=True)
    return (Delivery(f"{live.id}/end", parent["execution"], facts.encode([fact])),)


def _cause(live: Live, outcome: Outcome, region: str) -> str:
    """Why the parent's attempt fails: a state machine's description, as AWS has it; what a flow, workflow or test case failed with."""
    if "/" not in live.head.machine:
        return _shortened(_description(live, outcome, region, as_json=False))
    if outcome.error is not None:
        return handed_up(outcome.error, outcome.cause)
    said = "" if outcome.cause is None else f" {outcome.cause}"
    return f"The execution was stopped.{said}"[:MAX_CAUSE_CHARACTERS]


def _shortened(described: dict[str, JSONValue]) -> str:
    """A description as JSON of at most 32,768 characters: of a chain that fails, each would have all those below it in its cause, escaped once more.

    The input is cut first, then the cause.
    """
    if "Error" in described:
        described["Error"] = described["Error"][:MAX_ERROR_CHARACTERS]
    for name, least in (("Input", LEAST_INPUT), ("Cause", 0), ("Input", 0)):
        beyond = len(dumps(described)) - MAX_CAUSE_CHARACTERS
        if beyond > 0 and name in described:
            text = described[name]
            described[name] = _cut(text, max(len(dumps(text)) - beyond, least))
            if name == "Input" and described[name] != text:
                described["InputDetails"] = {"Included": False}
    return dumps(described)


def _cut(text: str, characters: int) -> str:
    """The longest beginning of a text that has at most so many characters as JSON."""
    text = text[:characters]
    return text[: bisect_right(range(1, len(text) + 1), characters, key=lambda end: len(dumps(text[:end])))]


def _description(live: Live, outcome: Outcome, region: str, *, as_json: bool) -> dict[str, JSONValue]:
    """The child as DescribeExecution shows it, in the capitals of a service integration; input and output as text (.sync) or JSON (.sync:2)."""
    head = live.head

    def payload(text: str) -> JSONValue:
        return Payload(text=text).value if as_json else text

    described: dict[str, JSONValue] = {}
    if outcome.cause is not None:
        described["Cause"] = outcome.cause
    if outcome.error is not None:
        described["Error"] = outcome.error
    described |= {
        "ExecutionArn": arn_of(head, region),
        "Input": payload(head.input),
        "InputDetails": {"Included": True},
        "Name": name_of(head),
    }
    if outcome.output is not None:
        described |= {"Output": payload(outcome.output), "OutputDetails": {"Included": True}}
    return described | {
        "StartDate": head.started_at,
        "StateMachineArn": machine_arn(region, head.account, head.machine),
        "Status": outcome.status,
        "StopDate": outcome.at,
    }
