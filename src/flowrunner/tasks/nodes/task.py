"""``arn:aws:states:::flowrunner:KIND``: the handler of every node and step that acts outside.

Parameters: ``{"params", "input", "results", "shared", "variables", "execution", "hooks", "language"}``; the result is
``{"output", "action"}``, ``"shared"`` when a script changed it, and ``"named"`` when the hook ``post`` said ``success``, whatever the result says. Actions that are listed in ``"failing"`` fail the attempt, those in
``"again": {"actions", "retries"}`` all but the last one, where the kind itself picks them and no hook; so does a change of ``"shared"`` with
``"reads_shared"``, and a secret in the output with ``"openly"``, where it would be used as stars. With ``"made"``, a
result that there is already, only the hooks run.
The parameters of a flow's node have expressions, which are evaluated here, where secrets can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flowrunner.errors import FlowRunnerError, InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps, loads
from flowrunner.kinds import BUILT_IN
from flowrunner.kinds.info import TIMEOUT
from flowrunner.ports.tasks import Succeeded, TaskCall, TaskHandler, TaskOutcome, log
from flowrunner.tasks.answers import bad_parameters, failed
from flowrunner.tasks.javascript.calls import SCRIPT_ERROR, ScriptOutcome
from flowrunner.tasks.nodes.kind import INVALID_PARAMETERS, NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.scripting import Scripting
from flowrunner.tasks.nodes.table import NodeTable
from flowrunner.tasks.secrecy import SECRET_NOT_ALLOWED, hidden

SUCCESS = "success"
UNKNOWN_KIND = "FlowRunner.UnknownKind"
UNSHARED = "Workflows have no 'shared': what the script put there is gone. Return it, and map it to a variable with 'output'."


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
            result = _judged(await self._node(kind, _node_call(call, parameters)), parameters)
            if result.shared is not None and parameters.get("language") == "workflow":
                log("warn", UNSHARED)
                result = replace(result, shared=None)
            shared = {} if result.shared is None else {"shared": result.shared}
            named = {"named": True} if result.named else {}
            return Succeeded(dumps({"output": result.output, "action": result.action, **shared, **named}))
        except NodeFailed as error:
            return failed(error.error, error.cause)
        except TimeoutError:
            return failed(TIMEOUT, f"The node took too long ({call.resource.action}).")
        except FlowRunnerError as error:
            return failed(f"FlowRunner.{type(error).__name__}", str(error))

    async def _node(self, kind: NodeKind, call: NodeCall) -> NodeResult:
        """The hook ``prep``, the expressions, the kind's work, the hooks ``exec`` and ``post``; each sees what the ones before made."""
        hooks = call.raw.get("hooks") or {}
        shared: JSONObject | None = None
        if hooks.get("prep") is not None:
            prepared = await self._hook("prep", hooks["prep"], call)
            call, shared = _with_shared(call, prepared.shared, shared)
            call = replace(call, input=prepared.value) if prepared.defined else call
        if call.language == "flow":
            call = replace(call, params=await self._scripting.fill(call, dict(call.params), skip=kind.info.scripts()))
        made = call.raw.get("made")
        result = NodeResult(made["output"], made["action"]) if isinstance(made, dict) else _ended(await kind.run(call), _again(call.raw, call.retry))
        call, shared = _with_shared(call, result.shared, shared)
        output, action = result.output, result.action
        if hooks.get("exec") is not None:
            made = await self._hook("exec", hooks["exec"], call, output=output)
            call, shared = _with_shared(call, made.shared, shared)
            if made.defined:
                output = made.value
                action = action if kind.info.actions else action_of(output) or SUCCESS  # of a condition the result is the action
        if hooks.get("post") is not None:
            said = await self._hook("post", hooks["post"], call, output=output, action=action)
            call, shared = _with_shared(call, said.shared, shared)
            named = action_of(said.value)
            return NodeResult(output, named or action, shared, named=named == SUCCESS)
        return NodeResult(output, action, shared)

    async def _hook(self, name: str, source: JSONValue, call: NodeCall, **more: JSONValue) -> ScriptOutcome:
        if not isinstance(source, str):
            raise NodeFailed(f"The hook {name!r} must be a text of JavaScript.", error=INVALID_PARAMETERS)
        return await self._scripting.run(call, source, names=more)

    def _missing(self, name: str) -> str:
        info = BUILT_IN.get(name)
        if info is not None and info.structural:
            return f"The kind {name!r} arranges other nodes: it is written in a flow or a workflow, not called as a task."
        there = ", ".join(one.name for one in self._table.infos if self._table.get(one.name) is not None)
        said = "is not to be had on this server" if info is not None else "does not exist"
        return f"The kind {name!r} {said}. There are: {there}."


def _judged(result: NodeResult, parameters: JSONObject) -> NodeResult:
    """The result. Raises NodeFailed when its action is one that counts as a failure, when it changed what it may only read, or holds a secret and must not."""
    if result.shared is not None and parameters.get("reads_shared") is True:
        said = "'shared' can only be read in batches that run at once, for the last one would win. Return the value, or take a strategy of one after another."
        raise NodeFailed(said, error=SCRIPT_ERROR)
    if parameters.get("openly") is True and hidden(shown := dumps(result.output)) != shown:
        said = "The parameters hold a secret, which a history would keep. Read the secret where it is used: another flow of the account can read it by itself."
        raise NodeFailed(said, error=SECRET_NOT_ALLOWED)
    failing = parameters.get("failing")
    return _ended(result, failing if isinstance(failing, list) else [])


def _ended(result: NodeResult, failing: list[JSONValue]) -> NodeResult:
    """The result. Raises NodeFailed when its action is one of those that fail the attempt."""
    if result.action not in failing:
        return result
    status = result.output.get("status_code") if isinstance(result.output, dict) else None
    raise NodeFailed(f"The node ended with the action '{result.action}'{'' if status is None else f' (status {status})'}.")


def _again(parameters: Mapping[str, JSONValue], retry: int) -> list[JSONValue]:
    """The actions of the kind that fail this attempt, the one after so many retries, because more are left."""
    again = parameters.get("again")
    if isinstance(again, dict) and isinstance(most := again.get("retries"), int) and retry < most and isinstance(actions := again.get("actions"), list):
        return actions
    return []


def _with_shared(call: NodeCall, changed: JSONObject | None, before: JSONObject | None) -> tuple[NodeCall, JSONObject | None]:
    """The call as what follows sees it, and what the shared object has become; None while nobody changed it."""
    return (call, before) if changed is None else (replace(call, raw={**call.raw, "shared": changed}), changed)


def action_of(value: JSONValue) -> str | None:
    """The edge that a value names: a text, a boolean's word, either as an object's ``branch`` or ``branch_decision``; None for none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        for name in ("branch", "branch_decision"):
            if isinstance(value.get(name), str | bool):
                return action_of(value[name])
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
    told = parameters.get("execution")
    return NodeCall(
        params=parameters.get("params", {}),
        input=parameters.get("input"),
        account=call.account,
        execution=call.execution,
        state=call.state,
        key=call.key,
        retry=call.retry,
        deadline=call.deadline,
        raw={**parameters, "execution": {**(told if isinstance(told, dict) else {}), "id": call.execution}},
    )
