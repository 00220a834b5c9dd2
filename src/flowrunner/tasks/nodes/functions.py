"""The functions that the operator has registered, as nodes call them."""

from __future__ import annotations

from collections.abc import Mapping

from flowrunner.jsonvalue import JSONValue, dumps, loads
from flowrunner.kinds.info import NODE_FAILED
from flowrunner.tasks.answers import UUIDs
from flowrunner.tasks.functions import Function, FunctionName
from flowrunner.tasks.invoke import Invocation, InvokeAnswer, Invoker, Raised, Refused, Returned
from flowrunner.tasks.nodes.kind import INVALID_PARAMETERS, NodeCall, NodeFailed

REGION = "us-east-1"  # what a function is told where no ARN says another


class RegisteredFunctions:
    """Functions of ``[functions]``: Python handlers by `local`, those behind URLs by `url`."""

    def __init__(self, functions: Mapping[str, Function], local: Invoker, url: Invoker, uuids: UUIDs) -> None:
        self._functions = functions
        self._local = local
        self._url = url
        self._uuids = uuids

    def idempotent(self, name: str) -> bool:
        """As registered; False for a name that is not."""
        function = self._functions.get(name)
        return function is not None and function.idempotent

    async def call(self, name: str, event: JSONValue, node: NodeCall) -> JSONValue:
        """What the function returns. Raises NodeFailed with the function's own error type, or ``FlowRunner.InvalidParameters``."""
        function = self._functions.get(name)
        if function is None:
            there = ", ".join(sorted(self._functions)) or "none"
            raise NodeFailed(f"There is no registered function {name[:100]!r}. Register it under [functions]; there are: {there}.", error=INVALID_PARAMETERS)
        invocation = Invocation(
            function=FunctionName(name),
            arn=f"arn:aws:lambda:{REGION}:{node.account}:function:{name}",
            event=dumps(event),
            request_id=self._uuids(),
            key=node.key,
            region=REGION,
            execution_arn=node.execution,
            state=node.state,
            deadline=node.deadline,
        )
        invoker = self._local if function.file is not None else self._url
        return _value(await invoker.invoke(invocation), name)


def _value(answer: InvokeAnswer, name: str) -> JSONValue:
    match answer:
        case Returned(payload):
            return loads(payload)
        case Raised(payload):
            kind = payload.get("errorType")
            raise NodeFailed(str(payload.get("errorMessage") or ""), error=kind if isinstance(kind, str) and kind else NODE_FAILED)
        case Refused(code, message, _):
            raise NodeFailed(message, error=code)
        case _:
            raise NodeFailed(f"What the function {name!r} returned is too large.")
