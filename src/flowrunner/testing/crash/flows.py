"""The machines, flows and workflows of crash tests, small and between them using everything a crash can hurt; and what each may come to.

``charge`` and its like must not run twice under one attempt, ``reserve`` and its like may (they are registered as idempotent).
Every Retry waits a second, the least that AWS allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

UNKNOWN = "FlowRunner.OutcomeUnknown"
NOT_IDEMPOTENT = ("charge", "ship", "notify", "paint")
IDEMPOTENT = ("reserve", "validate", "refund")
OFFERS = ("offer",)
FUNCTIONS = {**dict.fromkeys((*NOT_IDEMPOTENT, *IDEMPOTENT), "effect"), **dict.fromkeys(OFFERS, "offer")}
"""Registered names, and what in `functions` they are."""

ACCOUNT, REGION = "000000000000", "us-east-1"
ACTIVITY = f"arn:aws:states:{REGION}:{ACCOUNT}:activity:crash-paint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One machine. `outcomes` are the ends it may come to, as (status, output or error); those of `doubtful` need a kill before them.

    `retried` are the errors that some Retry in it answers; `effects` how many different attempts take effect when nothing
    goes wrong. `needs` are the machines it starts. Of an output only the members `told` count, if there are any: a flow's also says by
    which way it came. `format` tells what the definition is written in.
    """

    name: str
    definition: Mapping[str, Any]
    outcomes: tuple[tuple[str, Any], ...]
    effects: int
    doubtful: tuple[tuple[str, Any], ...] = ()
    retried: frozenset[str] = frozenset()
    input: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[Flow, ...] = ()
    told: tuple[str, ...] = ()
    format: Literal["asl", "flow", "workflow"] = "asl"

    def seen(self, output: Any) -> Any:
        """What counts of an output."""
        return {name: output.get(name) for name in self.told} if self.told and isinstance(output, dict) else output


def machine_arn(name: str) -> str:
    """The ARN of a machine of the server under test."""
    return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"


def again(*errors: str, most: int = 50) -> list[dict[str, Any]]:
    """A Retry without patience."""
    return [{"ErrorEquals": list(errors), "IntervalSeconds": 1, "BackoffRate": 1, "MaxAttempts": most}]


def invoke(function: str, payload: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A Task by ``lambda:invoke``."""
    given = {"retry.$": "$$.State.RetryCount", **(payload or {})}
    return {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": function, "Payload": given},
        "ResultSelector": {"done.$": "$.Payload.done"}, **more,
    }  # fmt: skip


def direct(function: str, **more: Any) -> dict[str, Any]:
    """A Task by the function's ARN."""
    return {"Type": "Task", "Resource": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}", **more}


def chain(**states: dict[str, Any]) -> dict[str, Any]:
    """States one after the other; those that say themselves where they lead are left alone."""
    names = list(states)
    for name, following in zip(names, [*names[1:], None], strict=True):
        if states[name]["Type"] not in ("Choice", "Succeed", "Fail") and not {"Next", "End"} & states[name].keys():
            states[name] |= {"End": True} if following is None else {"Next": following}
    return {"StartAt": names[0], "States": states}


SEQUENCE = Flow(
    name="sequence",
    definition=chain(
        Validate=direct("validate", ResultPath="$.validated"),
        Charge=invoke("charge", {"busy": 1}, Retry=again("Busy", UNKNOWN), ResultPath="$.charged"),
        Notify=invoke("notify", ResultPath="$.notified"),
    ),
    input={"order": 7},
    outcomes=(("SUCCEEDED", {"order": 7, "validated": {"done": True}, "charged": {"done": True}, "notified": {"done": True}}),),
    doubtful=(("FAILED", UNKNOWN),),  # Notify has no Retry
    retried=frozenset({"Busy", UNKNOWN}),
    effects=4,
)
PARALLEL = Flow(
    name="parallel",
    definition=chain(
        All={
            "Type": "Parallel",
            "Branches": [
                chain(Reserve=invoke("reserve"), Note={"Type": "Pass"}),
                chain(Charge=invoke("charge", {"busy": 1}, Retry=again("Busy", UNKNOWN))),
                chain(Notify=invoke("notify", Catch=[{"ErrorEquals": [UNKNOWN], "ResultPath": None, "Next": "InDoubt"}]), InDoubt={"Type": "Pass"}),
            ],
            "ResultSelector": {"first.$": "$[0].done", "second.$": "$[1].done"},
        },
        Ship=invoke("ship", Retry=again(UNKNOWN), ResultPath=None),
    ),
    outcomes=(("SUCCEEDED", {"first": True, "second": True}),),
    retried=frozenset({"Busy", UNKNOWN}),
    effects=5,
)
MAP = Flow(
    name="map",
    definition=chain(
        Each={
            "Type": "Map",
            "ItemsPath": "$.items",
            "MaxConcurrency": 6,
            "ItemProcessor": chain(
                Pick={"Type": "Choice", "Choices": [{"Variable": "$", "NumericLessThan": 10, "Next": "Reserve"}], "Default": "Ship"},
                Reserve=invoke("reserve", {"item.$": "$"}, End=True),
                Ship=invoke("ship", {"item.$": "$"}, Retry=again(UNKNOWN)),
            ),
        },
    ),
    input={"items": list(range(20))},
    outcomes=(("SUCCEEDED", [{"done": item} for item in range(20)]),),
    retried=frozenset({UNKNOWN}),
    effects=20,
)
WAIT = Flow(
    name="wait",
    definition=chain(
        Pause={"Type": "Wait", "Seconds": 1},
        Charge=invoke("charge", Retry=again(UNKNOWN), ResultPath="$.charged"),
        Again={"Type": "Wait", "Seconds": 1},
        Done={"Type": "Succeed"},
    ),
    input={"order": 8},
    outcomes=(("SUCCEEDED", {"order": 8, "charged": {"done": True}}),),
    retried=frozenset({UNKNOWN}),
    effects=1,
)
CALLBACK = Flow(
    name="callback",
    definition=chain(
        Approve={
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {"FunctionName": "offer", "Payload": {"token.$": "$$.Task.Token"}},
            "Retry": again(UNKNOWN),
        },
        Ship=invoke("ship", {"item.$": "$.approved"}, Retry=again(UNKNOWN)),
    ),
    outcomes=(("SUCCEEDED", {"done": "yes"}),),
    retried=frozenset({UNKNOWN}),
    effects=2,
)
CHILD = Flow(
    name="child",
    definition=chain(Charge=invoke("charge", {"item.$": "$.of"}, Retry=again(UNKNOWN)), Reserve=invoke("reserve", {"item.$": "$.done"})),
    outcomes=(("SUCCEEDED", {"done": "parent"}),),
    retried=frozenset({UNKNOWN}),
    effects=2,
)
NESTED = Flow(
    name="nested",
    definition=chain(
        Child={
            "Type": "Task",
            "Resource": "arn:aws:states:::states:startExecution.sync:2",
            "Parameters": {"StateMachineArn": machine_arn("child"), "Input": {"of": "parent"}},
            "ResultSelector": {"child.$": "$.Output.done"},
        },
        Notify=invoke("notify", Retry=again(UNKNOWN), ResultPath=None),
    ),
    outcomes=(("SUCCEEDED", {"child": "parent"}),),
    retried=frozenset({UNKNOWN}),
    effects=1,
    needs=(CHILD,),
)
WORKER = Flow(
    name="worker",
    definition=chain(
        Paint={
            "Type": "Task",
            "Resource": ACTIVITY,
            "Parameters": {"execution.$": "$$.Execution.Id"},  # for the worker to note
            # An answer to GetActivityTask that a crash swallowed leaves a task that nobody works on: only its heartbeat tells.
            "HeartbeatSeconds": 2,
            "Retry": again("States.HeartbeatTimeout"),
            "ResultPath": "$.paint",
        },
        Reserve=invoke("reserve", ResultPath=None),
    ),
    input={"colour": "red"},
    outcomes=(("SUCCEEDED", {"colour": "red", "paint": {"done": "painted"}}),),
    retried=frozenset({"States.Timeout"}),  # as AWS's history has it for both
    effects=2,
)
ROLLBACK = Flow(
    name="rollback",
    definition=chain(
        Reserve=invoke("reserve", ResultPath=None),
        Charge=invoke("charge", ResultPath=None, Retry=again(UNKNOWN)),
        Ship=invoke("ship", {"refuse": True}, Catch=[{"ErrorEquals": ["OutOfStock", UNKNOWN], "ResultPath": None, "Next": "Refund"}], Next="Never"),
        Never={"Type": "Fail", "Error": "Shipped"},
        Refund=invoke("refund", ResultPath=None, Next="RolledBack"),
        RolledBack={"Type": "Fail", "Error": "RolledBack", "Cause": "Everything is as it was."},
    ),
    outcomes=(("FAILED", "RolledBack"),),
    retried=frozenset({UNKNOWN}),
    effects=4,
)
LONG = Flow(
    name="long",
    definition=chain(
        Charge=invoke("charge", {"seconds": 0.6}, Retry=again(UNKNOWN), ResultPath="$.charged"),
        Reserve=invoke("reserve", {"seconds": 0.6}, ResultPath="$.reserved"),
    ),
    input={"order": 9},
    outcomes=(("SUCCEEDED", {"order": 9, "charged": {"done": True}, "reserved": {"done": True}}),),
    retried=frozenset({UNKNOWN}),
    effects=2,
)
FLOWS = (SEQUENCE, PARALLEL, MAP, WAIT, CALLBACK, NESTED, WORKER, ROLLBACK, LONG)


def calls(function: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A step that calls a function until its outcome is known."""
    config = {"language": "python", "function": function, "args": arguments or {}}
    return {"type": "script", "config": config, "retryCount": 50, "retryDelay": 100, **more}


STEPS = Flow(
    name="steps",
    format="workflow",
    definition={
        "name": "Steps",
        "variables": {"items": [1, 2, 3], "shipped": 0, "paid": False},
        "steps": {
            "reserve": calls("reserve"),
            "rest": {"type": "delay", "config": {"duration": "300ms"}, "dependsOn": ["reserve"]},
            "charge": calls("charge", dependsOn=["reserve"], output={"paid": "done"}),
            "refused": {**calls("notify", {"refuse": True}, dependsOn=["reserve"], onError="continue"), "retryCount": 0},
            "each": {
                "type": "loop",
                "dependsOn": ["rest"],
                "loop": {"source": "{{items}}", "itemVar": "item"},
                "children": {
                    "ship": calls("ship", {"item": "{{item}}"}, output={"shipped": "{{shipped + item}}"}),
                    "pause": {"type": "delay", "config": {"duration": "50ms"}, "dependsOn": ["ship"]},
                },
            },
            "either": {"type": "merge", "dependsOn": ["rest", "charge"], "config": {"mode": "any"}},
            "count": {
                "type": "script",
                "dependsOn": ["each", "charge"],
                "config": {"script": "console.log('counted'); return {twice: args.shipped * 2}", "args": {"shipped": "{{shipped}}"}},
                "retryCount": 50,
                "retryDelay": 100,
                "output": {"twice": "twice"},
            },
            "never": calls("ship", dependsOn=["count"], when="{{shipped < 6}}"),
            "last": calls("validate", {"item": "{{twice}}"}, dependsOn=["count", "either", "refused", "never"], when="{{paid}}", output={"end": "done"}),
        },
    },
    outcomes=(("SUCCEEDED", {"variables": {"items": [1, 2, 3], "shipped": 6, "paid": True, "twice": 12, "end": 12}}),),
    told=("variables",),
    retried=frozenset({UNKNOWN}),
    effects=7,
)
_REFUSED = {"language": "python", "function": "ship", "args": {"refuse": True}}
_AGAIN = {"max_retries": 50, "wait": "100ms"}
BATCHES = Flow(
    name="batches",
    format="flow",
    definition={
        "metadata": {"name": "Batches"},
        "nodes": {
            "charge": {
                "type": "script",
                "params": {"language": "python", "function": "charge", "args": {"item": "${item}"}},
                "batch": {"strategy": "parallel", "max_parallel": 3, "items": "${input.items}"},
                "retry": _AGAIN,
                "next": {"success": "sum"},
            },
            "sum": {
                "type": "transform",
                "params": {"script": "console.log('summed'); return {total: input.batch_results.reduce((sum, one) => sum + one.done, 0)}"},
                "retry": _AGAIN,
                "next": {"success": "pause"},
            },
            "pause": {"type": "delay", "params": {"duration": "200ms"}, "next": {"success": "ship"}},
            "ship": {"type": "script", "params": _REFUSED, "next": {"success": "never", "error": "refund"}},
            "refund": {"type": "script", "params": {"language": "python", "function": "refund", "args": {"item": "all"}}, "retry": _AGAIN},
            "never": {"type": "script", "params": {"language": "python", "function": "notify"}},
        },
    },
    input={"items": [1, 2, 3, 4, 5, 6]},
    outcomes=(("SUCCEEDED", {"total": 21, "done": "all", "success_count": 6, "failed_count": 0}),),
    told=("total", "done", "success_count", "failed_count"),
    retried=frozenset({UNKNOWN}),
    effects=8,
)
STEPPED = (STEPS, BATCHES)
"""What is not written in Amazon States Language: these have notes in their logs, and start by REST."""

BY_NAME = {flow.name: flow for flow in (*FLOWS, CHILD, *STEPPED)}


def configuration(book: str, *, workers: int = 6) -> str:
    """The text of a ``flowrunner.toml`` with the flows' functions, whose lines go to the ledger's book at this place."""
    file = Path(__file__).with_name("functions.py")
    lines = ["[functions]"]
    for name, function in FUNCTIONS.items():
        handler = json.dumps(f"{file}:{function}")
        told = json.dumps(book)
        lines.append(f"{name} = {{ handler = {handler}, idempotent = {str(name in IDEMPOTENT).lower()}, environment = {{ FLOWRUNNER_LEDGER = {told} }} }}")
    return "\n".join([*lines, "[function_pool]", f"workers = {workers}", ""])
