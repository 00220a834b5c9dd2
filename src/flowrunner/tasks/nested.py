"""FlowRunner's own service as a task: ``states:startExecution`` and what ``aws-sdk:sfn`` offers.

Answers and errors as recorded from AWS. A nested execution is started at most once for an attempt: its key makes a
repeated call give the child it started before, so these tasks are idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from flowrunner.clock import Clock
from flowrunner.errors import (
    AccessDenied,
    Conflict,
    FlowRunnerError,
    InvalidDocument,
    InvalidToken,
    LimitExceeded,
    NotFound,
    StoreError,
    TaskTokenTimedOut,
)
from flowrunner.ids import is_name, parse_arn
from flowrunner.jsonvalue import JSONObject, dumps, loads
from flowrunner.ports.tasks import ChildStart, ExecutionStarter, Failed, Succeeded, TaskCall, TaskHandler, TaskOutcome
from flowrunner.tasks.answers import UUIDs, bad_parameters, failed, http_date, metadata, missing_field, sdk_cause, service_cause

_FIELDS = frozenset({"StateMachineArn", "Input", "Name", "TraceHeader"})
TASK_FAILED = "States.TaskFailed"
_OWN = {"test": "test case"}  # by the part of a machine's name before the slash, where it is no word
_WAITS: dict[str, Literal["text", "json"] | None] = {"sync": "text", "sync:2": "json"}


class Callbacks(Protocol):
    """What a task may ask of the engine beyond `ExecutionStarter`; handed over by wiring, absent in small installations."""

    async def heartbeat(self, token: str, *, account: str) -> None:
        """Tell that the work of a token goes on. Raises InvalidToken, TaskTokenTimedOut."""
        ...

    async def poll_activity(self, account: str, activity_arn: str, worker: str | None) -> tuple[str, str] | None:
        """Wait up to 60 seconds for an activity's task: its token and input (JSON text). Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class _Problem:
    """An error of the Step Functions API: code without ``Exception``, message, HTTP status."""

    code: str
    message: str
    status: int = 400


class _Refused(FlowRunnerError):  # a signal within this module
    """The parameters are such that Step Functions would refuse the start."""

    def __init__(self, problem: _Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def _problem(error: FlowRunnerError, parameters: JSONObject) -> _Problem:
    if isinstance(error, _Refused):
        return error.problem
    if isinstance(error, NotFound):
        if error.kind == "activity":
            return _Problem("ActivityDoesNotExist", f"Activity Does Not Exist: '{parameters.get('ActivityArn')}'")
        return _Problem("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{parameters.get('StateMachineArn')}'")
    if isinstance(error, Conflict):
        return _Problem("ExecutionAlreadyExists", f"Execution Already Exists: '{_child_arn(parameters)}'")
    if isinstance(error, InvalidToken):
        return _Problem("InvalidToken", "Invalid Token: 'Invalid token'")
    if isinstance(error, TaskTokenTimedOut):
        return _Problem("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
    if isinstance(error, InvalidDocument):
        if "TaskToken" in parameters:
            return _Problem("InvalidOutput", f"Invalid Output: '{error.message}'")
        return _Problem("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error.message}'")
    if isinstance(error, AccessDenied):
        return _Problem("AccessDenied", error.message, 403)
    if isinstance(error, LimitExceeded):
        return _Problem("ExecutionLimitExceeded", error.message)
    if isinstance(error, StoreError):
        return _Problem("ServiceUnavailable", error.message, 503)
    return _Problem("Validation", error.message)


def _child_arn(parameters: JSONObject) -> str:
    machine = str(parameters.get("StateMachineArn", ""))
    arn = parse_arn(machine)
    return f"arn:{arn.partition}:states:{arn.region}:{arn.account}:execution:{arn.name}:{parameters.get('Name')}" if arn else machine


def _child(call: TaskCall, parameters: JSONObject) -> ChildStart | Failed:
    """The start that the parameters ask for; a JSON value in Input is written as text, a text is taken as it is. Raises _Refused."""
    unknown = sorted(set(parameters) - _FIELDS)
    if unknown:
        return bad_parameters(call.parameters, f"The field '{unknown[0]}' is not supported by Step Functions")
    machine, name, value = parameters.get("StateMachineArn"), parameters.get("Name"), parameters.get("Input")
    if not isinstance(machine, str):
        return missing_field(call.parameters, "StateMachineArn")
    if name is not None and (not isinstance(name, str) or not is_name(name)):
        raise _Refused(_Problem("InvalidName", f"Invalid Name: '{name}'"))
    if (arn := parse_arn(machine)) is None:
        raise _Refused(_Problem("InvalidArn", f"Invalid Arn: 'Invalid ARN prefix: {machine}'"))
    if arn.kind != "stateMachine":
        raise _Refused(_Problem("InvalidArn", f"Invalid Arn: 'Resource type not valid in this context: {arn.kind}'"))
    text = value if isinstance(value, str) else "{}" if value is None else dumps(value)
    return ChildStart(
        account=call.account,
        machine_arn=machine,
        name=name,
        input=text,
        key=call.key,
        parent=call.execution,
        attempt=call.attempt,
        wait=_WAITS.get(call.resource.pattern),
    )


def _own(machine: str) -> str | None:
    """What AWS does not know, in words: ``flow 'f'``; None for a state machine."""
    kind, _, name = machine.rpartition(":")[2].partition("/")
    return f"{_OWN.get(kind, kind)} '{name}'" if name else None


def _phase(call: TaskCall) -> Literal["submit", "run"]:
    return "submit" if call.resource.is_submitted else "run"


def _parameters(call: TaskCall) -> JSONObject | Failed:
    value = loads(call.parameters)
    return value if isinstance(value, dict) else bad_parameters(call.parameters, "Parameters must be a JSON object")


class StartExecutionTask(TaskHandler):
    """``states:startExecution``, also ``.sync``, ``.sync:2`` and ``.waitForTaskToken``: the first answer; the engine delivers the end."""

    def __init__(self, starter: ExecutionStarter, *, clock: Clock, uuids: UUIDs) -> None:
        self._starter = starter
        self._clock = clock
        self._uuids = uuids

    def keeps_parameters(self, call: TaskCall) -> bool:
        """Yes: the child's history has its input."""
        del call
        return True

    def idempotent(self, call: TaskCall) -> bool:
        """Always: the key gives the same child."""
        del call
        return True

    async def run(self, call: TaskCall) -> TaskOutcome:
        """``{ExecutionArn, SdkHttpMetadata, SdkResponseMetadata, StartDate}``, StartDate in milliseconds since 1970 UTC.

        A flow or workflow, which AWS does not know, also gets ``ExecutionId``, the id that REST takes.

        Errors: ``States.TaskFailed`` for those, else ``StepFunctions.StateMachineDoesNotExistException``, ``...ExecutionAlreadyExistsException``, ``...InvalidExecutionInputException``.
        """
        parameters = _parameters(call)
        if isinstance(parameters, Failed):
            return parameters
        request_id = self._uuids()
        try:
            start = _child(call, parameters)
            if isinstance(start, Failed):
                return start
            loads(start.input)
            child = await self._starter.start_child(start)
        except FlowRunnerError as error:
            if not isinstance(error, _Refused) and (named := _own(parameters["StateMachineArn"])) is not None:
                return failed(TASK_FAILED, f"There is no {named}." if isinstance(error, NotFound) else error.message, _phase(call))
            problem = _problem(error, parameters)
            cause = service_cause(problem.message, "AWSStepFunctions", problem.status, problem.code, request_id)
            return failed(f"StepFunctions.{problem.code}Exception", cause, _phase(call))
        answer = dumps({"executionArn": child.arn, "startDate": child.started_at / 1000})
        headers = {
            "connection": "keep-alive",
            "Content-Length": str(len(answer)),
            "Content-Type": "application/x-amz-json-1.0",
            "Date": http_date(self._clock.now()),
            "x-amzn-RequestId": request_id,
        }
        own: JSONObject = {"ExecutionId": child.id} if "/" in start.machine_arn else {}
        return Succeeded(dumps({"ExecutionArn": child.arn, **own, **metadata(headers, request_id), "StartDate": child.started_at}))


class SfnTask(TaskHandler):
    """``aws-sdk:sfn:ACTION``: sendTaskSuccess, sendTaskFailure, sendTaskHeartbeat, getActivityTask, startExecution."""

    def __init__(self, starter: ExecutionStarter, callbacks: Callbacks | None = None, *, uuids: UUIDs) -> None:
        self._starter = starter
        self._callbacks = callbacks
        self._uuids = uuids

    def idempotent(self, call: TaskCall) -> bool:
        """A start, and a heartbeat; an answer given twice would fail, a task taken twice would be lost."""
        return call.resource.action in ("startExecution", "sendTaskHeartbeat")

    def keeps_parameters(self, call: TaskCall) -> bool:
        """Yes: inputs, outputs and causes are kept in histories."""
        del call
        return True

    async def run(self, call: TaskCall) -> TaskOutcome:
        """The operation's answer; errors ``Sfn.CODEException``."""
        parameters = _parameters(call)
        if isinstance(parameters, Failed):
            return parameters
        try:
            return await self._act(call, parameters)
        except FlowRunnerError as error:
            problem = _problem(error, parameters)
            cause = sdk_cause(problem.message, "Sfn", problem.status, self._uuids())
            return failed(f"Sfn.{problem.code}Exception", cause, _phase(call))

    async def _act(self, call: TaskCall, parameters: JSONObject) -> TaskOutcome:
        action = call.resource.action
        if action == "startExecution":
            start = _child(call, parameters)
            if isinstance(start, Failed):
                return start
            loads(start.input)
            child = await self._starter.start_child(start)
            return Succeeded(dumps({"ExecutionArn": child.arn, "StartDate": _iso(child.started_at)}))
        required = {"sendTaskSuccess": ("TaskToken", "Output"), "getActivityTask": ("ActivityArn",)}.get(action, ("TaskToken",))
        for name in required:
            if not isinstance(parameters.get(name), str):
                return missing_field(call.parameters, name)
        if action == "sendTaskSuccess":
            await self._check_output(call.account, parameters["TaskToken"], parameters["Output"])
            await self._starter.answer(parameters["TaskToken"], account=call.account, output=parameters["Output"])
            return Succeeded("{}")
        if action == "sendTaskFailure":
            error, cause = (parameters.get(name) for name in ("Error", "Cause"))
            for name, value in (("Error", error), ("Cause", cause)):
                if not isinstance(value, str | None):
                    return bad_parameters(call.parameters, f"The value for the field '{name}' must be a STRING")
            await self._starter.answer(parameters["TaskToken"], account=call.account, error=error, cause=cause)
            return Succeeded("{}")
        if self._callbacks is None:
            return failed("Sfn.SdkClientException", f"Unable to execute HTTP request: {action} is not connected in this installation.")
        if action == "sendTaskHeartbeat":
            await self._callbacks.heartbeat(parameters["TaskToken"], account=call.account)
            return Succeeded("{}")
        task = await self._callbacks.poll_activity(call.account, parameters["ActivityArn"], parameters.get("WorkerName"))
        return Succeeded(dumps({"Input": task[1], "TaskToken": task[0]}) if task else "{}")

    async def _check_output(self, account: str, token: str, output: str) -> None:
        try:
            loads(output)
        except InvalidDocument:
            if self._callbacks is not None:  # recorded: a token that is wrong is told before the output is
                await self._callbacks.heartbeat(token, account=account)
            raise


SFN_ACTIONS = ("sendTaskSuccess", "sendTaskFailure", "sendTaskHeartbeat", "getActivityTask", "startExecution")


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
