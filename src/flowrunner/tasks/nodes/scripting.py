"""The scripts of a node: expressions in its parameters and its hooks, run by the service that wiring hands over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.embedded import expressions_of
from flowrunner.ports.secrets import OF_ENVIRONMENTS, SecretSource
from flowrunner.ports.tasks import Level, log
from flowrunner.tasks.javascript.calls import (
    CUT,
    MOST_MESSAGE,
    SCRIPT_ERROR,
    ListSecrets,
    ReadSecret,
    ScriptCall,
    ScriptFailed,
    ScriptLimits,
    ScriptOutcome,
    ScriptScope,
)
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed
from flowrunner.tasks.secrecy import expose, hidden, hidden_end, names_in

NO_LIMITS = ScriptLimits()


class Scripts(Protocol):
    """What runs JavaScript: ``tasks.javascript.scripts.Scripts``, or nothing at all."""

    async def run(self, call: ScriptCall) -> ScriptOutcome:
        """What the script returned. Raises ScriptFailed."""
        ...

    async def fill(self, value: JSONValue, scope: ScriptScope, *, skip: Collection[str] = ()) -> JSONValue:
        """`value` with its expressions evaluated. Raises ScriptFailed."""
        ...


class NoScripts:
    """A server without scripts."""

    async def run(self, call: ScriptCall) -> ScriptOutcome:
        """Raise ScriptFailed, always."""
        del call
        raise ScriptFailed(SCRIPT_ERROR, "This server runs no scripts.")

    async def fill(self, value: JSONValue, scope: ScriptScope, *, skip: Collection[str] = ()) -> JSONValue:
        """`value`, if there is no expression in it; raises ScriptFailed otherwise."""
        del scope
        given = {name: part for name, part in value.items() if name not in skip} if isinstance(value, dict) else value
        if next(iter(expressions_of(given)), None) is None:
            return value
        raise ScriptFailed(SCRIPT_ERROR, "This server runs no scripts.")


class Scripting:
    """The scripts service together with the account's secrets and the attempt's log. `limits` are those of a script that says nothing of its own."""

    def __init__(self, scripts: Scripts, secrets: SecretSource, limits: ScriptLimits = NO_LIMITS) -> None:
        self._scripts = scripts
        self._secrets = secrets
        self.limits = limits

    async def run(self, call: NodeCall, source: str, *, names: Mapping[str, JSONValue] | None = None, limits: ScriptLimits | None = None) -> ScriptOutcome:
        """Run a script of this attempt; `names` are more variables. Raises NodeFailed."""
        try:
            return await self._scripts.run(ScriptCall(source=source, scope=self.scope(call, names, limits)))
        except ScriptFailed as error:
            raise _failed(error) from None

    async def fill(self, call: NodeCall, value: JSONObject, *, skip: Collection[str] = ()) -> JSONObject:
        """`value` with its expressions evaluated, but for its members in `skip`. Raises NodeFailed."""
        try:
            filled = await self._scripts.fill(value, self.scope(call), skip=skip)
        except ScriptFailed as error:
            raise _failed(error) from None
        return filled if isinstance(filled, dict) else value

    def scope(self, call: NodeCall, names: Mapping[str, JSONValue] | None = None, limits: ScriptLimits | None = None) -> ScriptScope:
        """What scripts of this attempt see."""
        return ScriptScope(
            names={**names_of(call), **(names or {})},
            secret=self._secret(call),
            secret_names=self._names(call),
            log=_heard,
            limits=limits or self.limits,
            account=call.account,
        )

    def _secret(self, call: NodeCall) -> ReadSecret:
        names = names_in(dict(call.raw))

        async def secret(name: str) -> JSONValue:
            revealed = await self._secrets.reveal(call.account, names.get(name, name))
            expose(revealed.hidden)  # from now on it is shown in nothing that comes out of this attempt
            return revealed.value

        return secret

    def _names(self, call: NodeCall) -> ListSecrets:
        own = names_in(dict(call.raw))

        async def names() -> list[str]:
            """What can be written behind ``secrets.``: a variable of an environment by its own name, and only of the run's environment."""
            kept = await self._secrets.names(call.account)
            return [*own, *(name for name in kept if not name.startswith(OF_ENVIRONMENTS) and name not in own)]

        return names


def _heard(level: Level, message: str) -> None:
    log(level, f"{hidden_end(message[:-1])}{CUT}" if message.endswith(CUT) else hidden(message))


def _failed(error: ScriptFailed) -> NodeFailed:
    if len(error.message) >= MOST_MESSAGE:
        error.message = hidden_end(error.message)
    return NodeFailed(error.cause, error=error.error)


def names_of(call: NodeCall) -> dict[str, JSONValue]:
    """What every script of a node can name, beside ``secrets`` and ``console``; members of the input are names where the task says so (``names``).

    The hook ``prep`` may give an input without them: then they are those of the input that the task was called with.
    """
    raw = call.raw
    execution = raw.get("execution") or {}
    named = raw.get("names")
    known = {**_members(raw.get("input")), **_members(call.input)}
    return {
        **({name: known[name] for name in named if isinstance(name, str) and name in known} if isinstance(named, list) else {}),
        "input": call.input,
        "results": raw.get("results") or {},
        "shared": raw.get("shared") or {},
        "variables": raw.get("variables") or {},
        "execution": execution,
        "accountID": call.account,
        "_flow_context": {"account_id": call.account, **(execution if isinstance(execution, dict) else {})},
    }


def _members(value: JSONValue) -> JSONObject:
    return value if isinstance(value, dict) else {}
