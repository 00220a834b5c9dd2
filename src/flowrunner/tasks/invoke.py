"""Function resources: ``arn:aws:lambda:...:function:NAME`` and ``arn:aws:states:::lambda:invoke``, whoever runs the function.

An `Invoker` runs functions of one kind (worker processes, URLs, an AWS endpoint); `FunctionTask` gives its answer the
shape that Step Functions shows. Source of the shapes: answers recorded from AWS; Lambda's API reference, Invoke.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from flowrunner.clock import Clock
from flowrunner.core.faults import DATA_LIMIT_EXCEEDED
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, dumps, loads
from flowrunner.limits import Limits
from flowrunner.ports.tasks import Failed, Succeeded, TaskCall, TaskHandler, TaskOutcome, begin, may_begin
from flowrunner.tasks.answers import UUIDs, bad_parameters, failed, function_failure, http_date, metadata, missing_field, service_cause
from flowrunner.tasks.functions import FunctionName, parse_function_name
from flowrunner.tasks.secrecy import hidden

FIELDS = frozenset({"FunctionName", "Payload", "InvocationType", "Qualifier", "ClientContext"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One function call. `event` is JSON text; `deadline` milliseconds since 1970 UTC; `key` the attempt's idempotency key."""

    function: FunctionName
    arn: str
    event: str
    request_id: str
    key: str
    region: str
    execution_arn: str
    state: str
    deadline: int | None = None
    client_context: str | None = None
    kind: str = "RequestResponse"


@dataclass(frozen=True, slots=True)
class Returned:
    """The function's result as JSON text."""

    payload: str
    version: str = "$LATEST"


@dataclass(frozen=True, slots=True)
class Raised:
    """The function's error payload: ``{errorMessage, errorType, ...}``."""

    payload: JSONObject


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The result was larger than could be taken."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The service did not run the function: Lambda's error code, message and HTTP status."""

    code: str
    message: str
    status: int


InvokeAnswer = Returned | Raised | TooLarge | Refused


class Invoker(ABC):
    """Runs functions of one kind."""

    @abstractmethod
    async def invoke(self, invocation: Invocation) -> InvokeAnswer:
        """Run the function to its end. Never raises for what the function does; cancelled, it stops the function first."""

    def idempotent(self, function: FunctionName) -> bool:
        """Whether the function may run again when its outcome is unknown."""
        del function
        return False

    def places(self) -> int:
        """How many functions can run at once."""
        return 1000


class NoSuchFunction(Invoker):
    """Answers as Lambda does for a function that is not there."""

    async def invoke(self, invocation: Invocation) -> InvokeAnswer:
        """``ResourceNotFoundException``."""
        qualifier = invocation.function.qualifier or "$LATEST"
        return Refused("ResourceNotFoundException", f"Function not found: {invocation.arn}:{qualifier}", 404)


class Background:
    """Functions invoked with InvocationType ``Event``: they run on their own and end with the exit stack."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    async def start(self, stack: AsyncExitStack) -> None:
        """Stop what still runs at the end of `stack`."""
        stack.push_async_callback(self.close)

    async def close(self) -> None:
        """Stop what runs."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    def run(self, invoker: Invoker, invocation: Invocation) -> None:
        """Start a function whose answer nobody waits for; an error is logged."""
        task = asyncio.create_task(self._run(invoker, invocation), name=f"event of {invocation.function.name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, invoker: Invoker, invocation: Invocation) -> None:
        may_begin.set(None)  # it was asked before this began, and the attempt is over by now
        answer = await invoker.invoke(invocation)
        if not isinstance(answer, Returned):
            _log.warning(
                "function %s, invoked as an event, failed: %s",
                invocation.function.name,
                hidden(dumps(answer.payload) if isinstance(answer, Raised) else str(answer)),
            )


class FunctionTask(TaskHandler):
    """Carries out both kinds of function resources with one invoker."""

    def __init__(self, invoker: Invoker, background: Background, *, clock: Clock, uuids: UUIDs, limits: Limits) -> None:
        self._invoker = invoker
        self._background = background
        self._clock = clock
        self._uuids = uuids
        self._limits = limits

    def idempotent(self, call: TaskCall) -> bool:
        """As its registration says."""
        name = function_of(call)
        return name is not None and self._invoker.idempotent(name)

    def places(self) -> int:
        """As many as its invoker has."""
        return self._invoker.places()

    async def run(self, call: TaskCall) -> TaskOutcome:
        """Run the function; plain ARNs give its result, ``lambda:invoke`` AWS's answer around it."""
        return await (self._plain(call) if call.resource.family == "lambda" else self._service(call))

    async def _plain(self, call: TaskCall) -> TaskOutcome:
        name = parse_function_name(call.resource.action)
        if name is None:
            return failed("States.Runtime", f"The resource {call.resource.arn} names no function.", "start")
        answer = await self._invoker.invoke(self._invocation(call, name, call.parameters))
        if isinstance(answer, Returned):
            return self._fitting(call.resource.arn, answer.payload)
        return self._failure(answer, call.resource.arn, self._uuids(), spaced=True)

    async def _service(self, call: TaskCall) -> TaskOutcome:
        parameters = loads(call.parameters)
        if not isinstance(parameters, dict):
            return bad_parameters(call.parameters, "Parameters must be a JSON object")
        invocation = self._asked(call, parameters)
        if isinstance(invocation, Failed):
            return invocation
        try:
            event = loads(invocation.event)
            del event
        except InvalidDocument as error:
            message = f"Could not parse request body into json: Could not parse payload into json: {error.message}"
            return self._failure(Refused("InvalidRequestContentException", message, 400), "lambda", invocation.request_id, spaced=False)
        if invocation.kind != "RequestResponse":
            return await self._unanswered(invocation)
        answer = await self._invoker.invoke(invocation)
        if isinstance(answer, Returned):
            return self._fitting("lambda", self._answer(invocation, answer))
        return self._failure(answer, "lambda", invocation.request_id, spaced=False)

    def _asked(self, call: TaskCall, parameters: JSONObject) -> Invocation | Failed:
        unknown = sorted(set(parameters) - FIELDS)
        if unknown:
            return bad_parameters(call.parameters, f"The field '{unknown[0]}' is not supported by Step Functions")
        text = parameters.get("FunctionName")
        if text is None:
            return missing_field(call.parameters, "FunctionName")
        name = parse_function_name(text) if isinstance(text, str) else None
        if name is None:
            return bad_parameters(call.parameters, "The value for the field 'FunctionName' is not valid")
        kind = parameters.get("InvocationType") or "RequestResponse"
        if kind not in ("RequestResponse", "Event", "DryRun"):
            return bad_parameters(call.parameters, "The value for the field 'InvocationType' is not one of RequestResponse, Event, DryRun")
        if isinstance(parameters.get("Qualifier"), str):
            name = replace(name, qualifier=parameters["Qualifier"])
        payload = parameters.get("Payload")
        # Recorded: a string is sent as it is, so it must be JSON text itself; null is sent as {}.
        event = payload if isinstance(payload, str) else "{}" if payload is None else dumps(payload)
        context = parameters.get("ClientContext")
        return replace(self._invocation(call, name, event), kind=kind, client_context=context if isinstance(context, str) else None)

    def _invocation(self, call: TaskCall, name: FunctionName, event: str) -> Invocation:
        region, account = name.region or call.region, name.account or call.account
        return Invocation(
            function=name,
            arn=f"arn:aws:lambda:{region}:{account}:function:{name.name}",
            event=event,
            request_id=self._uuids(),
            key=call.key,
            region=region,
            execution_arn=call.execution_arn,
            state=call.state,
            deadline=call.deadline,
        )

    async def _unanswered(self, invocation: Invocation) -> TaskOutcome:
        if isinstance(self._invoker, NoSuchFunction):
            return self._failure(await self._invoker.invoke(invocation), "lambda", invocation.request_id, spaced=False)
        if invocation.kind == "Event":
            await begin()
            self._background.run(self._invoker, invocation)
        status = 202 if invocation.kind == "Event" else 204
        headers = {"Connection": "keep-alive", "Content-Length": "0", "Date": http_date(self._clock.now()), "x-amzn-RequestId": invocation.request_id}
        return Succeeded(dumps({"Payload": "", **metadata(headers, invocation.request_id, status), "StatusCode": status}))

    def _answer(self, invocation: Invocation, answer: Returned) -> str:
        trace = self._uuids().replace("-", "")
        headers = {
            "Connection": "keep-alive",
            "Content-Length": str(len(answer.payload.encode())),
            "Content-Type": "application/json",
            "Date": http_date(self._clock.now()),
            "X-Amz-Executed-Version": answer.version,
            "x-amzn-Remapped-Content-Length": "0",
            "x-amzn-RequestId": invocation.request_id,
            "X-Amzn-Trace-Id": f"root=1-{self._clock.now() // 1000:08x}-{trace[:24]};sampled=0",
        }
        rest = dumps(metadata(headers, invocation.request_id) | {"StatusCode": 200})
        # The payload is text already: it is put in its place, not read and written again.
        return f'{{"ExecutedVersion":{dumps(answer.version)},"Payload":{answer.payload},{rest[1:]}'

    def _fitting(self, what: str, output: str) -> TaskOutcome:
        limit = self._limits.payload_bytes
        return too_large(what) if limit and len(output.encode()) > limit else Succeeded(output)

    def _failure(self, answer: InvokeAnswer, what: str, request_id: str, *, spaced: bool) -> Failed:
        if isinstance(answer, Raised):
            return function_failure(answer.payload, spaced=spaced)
        if isinstance(answer, Refused):
            return failed(f"Lambda.{answer.code}", service_cause(answer.message, "AWSLambda", answer.status, answer.code, request_id))
        return too_large(what)


def too_large(what: str) -> Failed:
    """A result above the limit of a payload (AWS: 256 KiB), in AWS's words."""
    return failed(DATA_LIMIT_EXCEEDED, f"The state/task '{what}' returned a result with a size exceeding the maximum number of bytes service limit.")


def function_of(call: TaskCall) -> FunctionName | None:
    """The function that a call of either kind names; None if it names none that could be."""
    if call.resource.family == "lambda":
        return parse_function_name(call.resource.action)
    try:
        text = loads(call.parameters)["FunctionName"]
    except (InvalidDocument, KeyError, TypeError):
        return None
    return parse_function_name(text) if isinstance(text, str) else None
