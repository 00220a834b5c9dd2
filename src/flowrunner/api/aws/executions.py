"""Operations on executions, except their history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowrunner.api.aws.faults import AwsFault, invalid_name, invalid_page_token, unsupported, validation, wrong_machine_type
from flowrunner.api.aws.pages import page_position, page_token
from flowrunner.api.aws.service import DEFAULT_PAGE, MILLISECONDS, Answer, Request, Service
from flowrunner.api.aws.texts import json_fault
from flowrunner.engine.live import arn_of, extra_of, name_of
from flowrunner.ids import is_name, machine_arn
from flowrunner.ports.executions import ExecutionQuery, Head

if TYPE_CHECKING:
    from flowrunner.identity.principal import Principal
    from flowrunner.ports.definitions import Machine

INCLUDED = {"included": True}
WITHHELD = {"included": False}
REDRIVABLE = frozenset({"FAILED", "TIMED_OUT", "ABORTED"})
BILLING_STEP_MILLISECONDS = 100  # express workflows are billed in steps of 100 ms and 64 MB; we always report the least memory
BILLED_MEGABYTES = 64


async def start_execution(service: Service, caller: Principal, request: Request) -> Answer:
    """StartExecution: answered when the start is durable."""
    machine, extra = await _to_start(service, caller, request, "StartExecution")
    head = await service.engine.start_execution(machine, name=request.get("name"), input=_input(request), extra=extra)
    return {"executionArn": arn_of(head, service.region), "startDate": head.started_at / MILLISECONDS}


async def start_sync_execution(service: Service, caller: Principal, request: Request) -> Answer:
    """StartSyncExecution: answered when the execution has ended."""
    machine, extra = await _to_start(service, caller, request, "StartSyncExecution")
    if machine.type != "EXPRESS":
        raise wrong_machine_type()
    head = await service.engine.run_to_end(machine, name=request.get("name"), input=_input(request), extra=extra)
    answer = _facts(service, head, withheld=request.get("includedData") == "METADATA_ONLY")
    duration = (head.stopped_at or head.started_at) - head.started_at
    steps = max(1, -(-duration // BILLING_STEP_MILLISECONDS))
    answer["billingDetails"] = {"billedDurationInMilliseconds": steps * BILLING_STEP_MILLISECONDS, "billedMemoryUsedInMB": BILLED_MEGABYTES}
    return answer


async def _to_start(service: Service, caller: Principal, request: Request, action: str) -> tuple[Machine, dict[str, Any] | None]:
    """The machine, and what else is kept of the start. ``ARN#TestCase`` selects mocks, as in AWS's local Step Functions."""
    arn, mark, test_case = request["stateMachineArn"].partition("#")
    machine = await service.machine(caller, arn, action)
    name = request.get("name")
    if name is not None and not is_name(name):
        raise invalid_name(name)
    if mark and not test_case:  # such as a shell's variable that is not set: without mocks the tasks would run in earnest
        raise validation("The ARN of the state machine ends in '#' without the name of a test case")
    if test_case and not service.has_test_case(machine.name, test_case):
        raise validation(f"The mock configuration has no test case '{test_case}' for the state machine '{machine.name}'")
    extra = {key: value for key, value in (("testCase", test_case), ("traceHeader", request.get("traceHeader"))) if value}
    return machine, extra or None


def _input(request: Request) -> str:
    given: str | None = request.get("input")
    if given is None:
        return "{}"
    fault = json_fault(given)
    if fault is not None:
        raise AwsFault("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{fault or 'Invalid execution input.'}'")
    return given


def _facts(service: Service, head: Head, *, withheld: bool) -> dict[str, Any]:
    """What DescribeExecution and StartSyncExecution both tell."""
    answer: dict[str, Any] = {
        "executionArn": arn_of(head, service.region),
        "stateMachineArn": machine_arn(service.region, head.account, head.machine),
        "name": name_of(head),
        "status": head.status,
        "startDate": head.started_at / MILLISECONDS,
        "inputDetails": WITHHELD if withheld else INCLUDED,
    }
    if not withheld:
        answer["input"] = head.input
    if head.stopped_at is not None:
        answer["stopDate"] = head.stopped_at / MILLISECONDS
    if head.output is not None:
        answer["outputDetails"] = WITHHELD if withheld else INCLUDED
        if not withheld:
            answer["output"] = head.output
    if head.error is not None and not withheld:
        answer["error"] = head.error
    if head.cause is not None and not withheld:
        answer["cause"] = head.cause
    if head.extra is not None and (trace := extra_of(head).get("traceHeader")):
        answer["traceHeader"] = trace
    return answer


async def describe_execution(service: Service, caller: Principal, request: Request) -> Answer:
    """DescribeExecution."""
    head = await service.execution(caller, request["executionArn"], "DescribeExecution")
    answer = _facts(service, head, withheld=request.get("includedData") == "METADATA_ONLY")
    answer["redriveCount"] = 0
    if head.status in REDRIVABLE:
        answer["redriveStatus"] = "REDRIVABLE"
    else:
        answer["redriveStatus"] = "NOT_REDRIVABLE"
        answer["redriveStatusReason"] = f"Execution is {head.status} and cannot be redriven"
    return answer


async def stop_execution(service: Service, caller: Principal, request: Request) -> Answer:
    """StopExecution: an ended execution stays as it is."""
    head = await service.execution(caller, request["executionArn"], "StopExecution")
    stopped = await service.engine.stop_execution(head.id, error=request.get("error"), cause=request.get("cause"))
    return {"stopDate": (stopped.stopped_at or service.clock.now()) / MILLISECONDS}


async def list_executions(service: Service, caller: Principal, request: Request) -> Answer:
    """ListExecutions, newest first."""
    arn = request.get("stateMachineArn")
    if request.get("mapRunArn") is not None:
        raise unsupported("executions of map runs")
    if arn is None:
        raise validation("Must specify either a stateMachineArn or a mapRunArn")
    machine = await service.machine(caller, arn, "ListExecutions")
    if machine.type == "EXPRESS":
        raise wrong_machine_type()
    status, limit = request.get("statusFilter"), request.get("maxResults") or DEFAULT_PAGE
    listing = f"executions:{machine.name}:{status or ''}"
    position = page_position(request.get("nextToken"), listing, int, str)
    if request.get("redriveFilter") == "REDRIVEN":  # nothing was ever redriven yet
        return {"executions": []}
    query = ExecutionQuery(
        account=machine.account, machine=machine.name, status=status, limit=limit + 1, after=(position[0], position[1]) if position else None
    )
    try:
        heads = await service.store.executions.list(query)
    except OverflowError:  # a made-up start time that no database takes
        raise invalid_page_token() from None
    machine_text = machine_arn(service.region, machine.account, machine.name)
    answer: dict[str, Any] = {"executions": [_listed(service, head, machine_text) for head in heads[:limit]]}
    if len(heads) > limit:
        last = heads[limit - 1]
        answer["nextToken"] = page_token(listing, last.started_at, last.id)
    return answer


def _listed(service: Service, head: Head, machine: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "executionArn": arn_of(head, service.region),
        "stateMachineArn": machine,
        "name": head.name,
        "status": head.status,
        "startDate": head.started_at / MILLISECONDS,
        "redriveCount": 0,
    }
    if head.stopped_at is not None:
        entry["stopDate"] = head.stopped_at / MILLISECONDS
    return entry
