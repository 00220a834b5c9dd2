"""How a campaign reaches what it runs: machines by the AWS surface, flows and step workflows by REST. Each says what can be seen from outside."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from flowrunner.client import ServerRefused
from flowrunner.testing.crash.checker import Answer, Run, Start
from flowrunner.testing.crash.flows import Flow
from flowrunner.testing.crash.outside import Callers

ROLE = "arn:aws:iam::000000000000:role/flowrunner"
RUNNING = ("RUNNING", "PENDING_REDRIVE")
PAGE = 1000
AGAIN_SECONDS = 0.1
_PLACES = ("eventId", "eventType", "previousEventId", "stateType")  # of a history event in a stream; the rest are its details


class Front(ABC):
    """One surface. An execution is known by what its start was answered with: an ARN, or an id."""

    def __init__(self, callers: Callers) -> None:
        self.callers = callers

    @abstractmethod
    async def create(self, flow: Flow) -> None:
        """Keep the definition."""

    @abstractmethod
    async def begin(self, flow: Flow, name: str) -> Start:
        """Start it, asking until that is answered."""

    @abstractmethod
    async def answer(self, execution: str) -> Answer | None:
        """How the execution has ended; None while it runs. Raises ServerRefused if it is not there."""

    @abstractmethod
    async def executions(self, flow: Flow) -> list[str]:
        """All there are of it."""

    @abstractmethod
    async def run(self, execution: str, flow: Flow) -> Run:
        """Its history."""


class AwsFront(Front):
    """State machines."""

    def __init__(self, callers: Callers) -> None:
        super().__init__(callers)
        self._arns: dict[str, str] = {}

    async def create(self, flow: Flow) -> None:
        """CreateStateMachine."""
        made = await self.callers.call("CreateStateMachine", name=flow.name, definition=json.dumps(flow.definition), roleArn=ROLE)
        self._arns[flow.name] = made["stateMachineArn"]

    async def begin(self, flow: Flow, name: str) -> Start:
        """StartExecution."""
        arn = self._arns[flow.name]
        try:
            started = await self.callers.call("StartExecution", stateMachineArn=arn, name=name, input=json.dumps(flow.input))
        except ServerRefused as error:
            if error.code != "ExecutionAlreadyExists":
                raise
            # An earlier try was stored, its answer was lost, and the execution has ended meanwhile.
            started = await self.callers.call("DescribeExecution", executionArn=f"{arn.replace(':stateMachine:', ':execution:')}:{name}")
        return Start(flow.name, name, started["executionArn"], started["startDate"])

    async def answer(self, execution: str) -> Answer | None:
        """DescribeExecution."""
        found = await self.callers.call("DescribeExecution", executionArn=execution)
        return None if found["status"] in RUNNING else Answer(found["status"], found.get("output"), found.get("error"))

    async def executions(self, flow: Flow) -> list[str]:
        """ListExecutions."""
        found: list[str] = []
        token: str | None = None
        while True:
            page = await self.callers.call("ListExecutions", stateMachineArn=self._arns[flow.name], maxResults=PAGE, nextToken=token)
            found += [one["executionArn"] for one in page["executions"]]
            token = page.get("nextToken")
            if token is None:
                return found

    async def run(self, execution: str, flow: Flow) -> Run:
        """GetExecutionHistory."""
        events: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            page = await self.callers.call("GetExecutionHistory", executionArn=execution, maxResults=PAGE, nextToken=token)
            events += page["events"]
            token = page.get("nextToken")
            if token is None:
                return Run(flow=flow, arn=execution, id=(await self.callers.run(execution))["runId"], events=events)


class RestFront(Front):
    """Flows and step workflows. A start has an Idempotency-Key, so that asking again finds what the first try began."""

    def __init__(self, callers: Callers) -> None:
        super().__init__(callers)
        self._ids: dict[str, str] = {}

    async def create(self, flow: Flow) -> None:
        """POST of the definition."""
        if flow.format == "flow":
            made = await self.callers.rest("POST", "/api/v1/flows", {"content": json.dumps(flow.definition)}, key=flow.name)
            self._ids[flow.name] = made["id"]
        else:
            await self.callers.rest("POST", "/api/v2/workflows", {"workflowId": flow.name, "definition": flow.definition}, key=flow.name)
            self._ids[flow.name] = flow.name

    async def begin(self, flow: Flow, name: str) -> Start:
        """POST to ``run`` or ``execute``. What is answered that it is under way is asked again: its server lives, and was slow."""
        name_of, path, body = (
            ("execution_id", f"/api/v1/flows/{self._ids[flow.name]}/run", {"input": flow.input})
            if flow.format == "flow"
            else ("runId", f"/api/v2/workflows/{self._ids[flow.name]}/execute", {"variables": flow.input})
        )
        while True:
            try:
                started = await self.callers.rest("POST", path, body, key=name)
            except ServerRefused as error:
                if error.code != "request_in_progress":
                    raise
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return Start(flow.name, name, started[name_of], None)

    async def answer(self, execution: str) -> Answer | None:
        """The run, which has its end."""
        found = await self.callers.run(execution)
        output = json.dumps(found["output"]) if "output" in found else None
        return None if found["executionStatus"] in RUNNING else Answer(found["executionStatus"], output, found.get("error"))

    async def executions(self, flow: Flow) -> list[str]:
        """The lists of executions and runs."""
        place, name = ("/api/v1/executions", "id") if flow.format == "flow" else (f"/api/v2/workflows/{self._ids[flow.name]}/runs", "runId")
        found: list[str] = []
        following: str | None = None
        while True:
            asked = {"limit": PAGE, "cursor": following, "flow_id": self._ids[flow.name] if flow.format == "flow" else None}
            page = await self.callers.rest("GET", place, params=asked)
            found += [one[name] for one in page["items"]]
            following = page["next_cursor"]
            if following is None:
                return found

    async def run(self, execution: str, flow: Flow) -> Run:
        """The whole stream: every record of the log is a message of it."""
        messages = await self.callers.messages(execution)
        events = [_event(message) for message in messages if "eventType" in message["payload"]]
        return Run(flow=flow, arn=execution, id=execution, events=events, messages=messages)


def _event(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of a stream as the event that GetExecutionHistory tells."""
    payload = message["payload"]
    kind: str = payload["eventType"]
    details = {name: value for name, value in payload.items() if name not in _PLACES}
    return {
        "id": payload["eventId"],
        "type": kind,
        "previousEventId": payload["previousEventId"],
        "timestamp": dt.datetime.fromisoformat(message["ts"]).timestamp(),
        f"{kind[0].lower()}{kind[1:]}EventDetails": details,
    }
