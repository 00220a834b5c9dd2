"""``arn:aws:states:::flowrunner:KIND``: the handler of every node and step that acts outside.

Parameters: ``{"params", "input", "results", "shared", "variables", "execution", "hooks", "language"}``; the result is
``{"output", "action"}``. The parameters of a flow's node have expressions, which are evaluated here, where secrets can be read.
"""

from __future__ import annotations

from dataclasses import replace

from flowrunner.errors import FlowRunnerError, InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps, loads
from flowrunner.kinds import BUILT_IN
from flowrunner.kinds.info import TIMEOUT
from flowrunner.ports.tasks import Succeeded, TaskCall, TaskHandler, TaskOutcome
from flowrunner.tasks.answers import bad_parameters, failed
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.scripting import Scripting, names_of
from flowrunner.tasks.nodes.table import NodeTable
from flowrunner.tasks.secrecy import hidden

UNKNOWN_KIND = "FlowRunner.UnknownKind"
HOOKS = ("prep", "exec", "post")


class NodeTask(TaskHandler):
    """Runs the kinds of a table."""

    def __init__(self, table: NodeTable, scripting: Scripting) -> None:
        self._table = table
        self._scripting = scripting

    def idempotent(self, call: TaskCall) -> bool:
        """As the kind says."""
        kind = self._table.get(call.resource.action)
        parameters = _read(call)
        return kind is not None and parameters is not None and kind.idempotent(_node_call(call, parameters))

    async def run(self, call: TaskCall) -> TaskOutcome:
        """``{"output", "action"}``; the kind's errors, ``FlowRunner.UnknownKind``, ``FlowRunner.ScriptError`` and its like."""
        kind = self._table.get(call.resource.action)
        if kind is None:
            return failed(UNKNOWN_KIND, self._missing(call.resource.action), "start")
        parameters = _read(call)
        if parameters is None:
            return bad_parameters(call.parameters, "Parameters must be a JSON object with the object 'params'")
        try:
            result = await self._node(kind, _node_call(call, parameters))
            return Succeeded(dumps({"output": result.output, "action": result.action}))
        except NodeFailed as error:
            return failed(error.error, error.cause)
        except TimeoutError:
            return failed(TIMEOUT, f"The node took too long ({call.resource.action}).")
        except FlowRunnerError as error:
            return failed(f"FlowRunner.{type(error).__name__}", str(error))

    async def _node(self, kind: NodeKind, call: NodeCall) -> NodeResult:
        """The hook ``prep``, the expressions, the kind's work, the hooks ``exec`` and ``post``."""
        hooks = call.raw.get("hooks") or {}
        if "prep" in hooks:
            prepared = await self._hook(hooks["prep"], call)
            if prepared is not None:
                call = replace(call, input=prepared, raw={**call.raw, "input": prepared})
        if call.language == "flow":
            call = replace(call, params=await self._filled(kind, call))
        result = await kind.run(call)
        if "exec" in hooks:
            made = await self._hook(hooks["exec"], call, result=result.output)
            result = result if made is None else NodeResult(made, result.action)
        if "post" in hooks:
            action = action_of(await self._hook(hooks["post"], call, result=result.output, action=result.action))
            result = result if action is None else NodeResult(result.output, action)
        return result

    async def _filled(self, kind: NodeKind, call: NodeCall) -> JSONObject:
        scripts = kind.info.scripts()
        names = names_of(call.raw, call.account)
        given = {name: value for name, value in call.params.items() if name not in scripts}
        filled = await self._scripting.fill(given, account=call.account, names=names, log=say)
        return {name: filled.get(name, value) for name, value in call.params.items()}

    async def _hook(self, source: JSONValue, call: NodeCall, **more: JSONValue) -> JSONValue:
        if not isinstance(source, str):
            raise NodeFailed("A hook is a text of JavaScript.")
        return await self._scripting.run(source, account=call.account, names={**names_of(call.raw, call.account), **more}, log=say)

    def _missing(self, name: str) -> str:
        info = BUILT_IN.get(name)
        if info is not None and info.structural:
            return f"The kind {name!r} arranges other nodes: it is written in a flow or a workflow, not called as a task."
        there = ", ".join(one.name for one in self._table.infos if self._table.get(one.name) is not None)
        said = "is not to be had on this server" if info is not None else "does not exist"
        return f"The kind {name!r} {said}. There are: {there}."


def say(level: str, message: str, data: JSONValue = None) -> None:
    """A line of a node's own log, without the secrets that it was given."""
    del level, data
    hidden(message)


def action_of(value: JSONValue) -> str | None:
    """The edge that a value names: a text, a boolean's word, an object's ``branch`` or ``branch_decision``; None for none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        for name in ("branch", "branch_decision"):
            if isinstance(value.get(name), str):
                return str(value[name])
    return None


def _read(call: TaskCall) -> JSONObject | None:
    try:
        parameters = loads(call.parameters)
    except InvalidDocument:
        return None
    if not isinstance(parameters, dict) or not isinstance(parameters.get("params", {}), dict) or not isinstance(parameters.get("hooks") or {}, dict):
        return None
    return parameters


def _node_call(call: TaskCall, parameters: JSONObject) -> NodeCall:
    return NodeCall(
        params=parameters.get("params", {}),
        input=parameters.get("input"),
        account=call.account,
        execution=call.execution,
        state=call.state,
        key=call.key,
        retry=call.retry,
        deadline=call.deadline,
        raw=parameters,
    )
