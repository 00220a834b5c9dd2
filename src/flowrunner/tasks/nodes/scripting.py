"""The scripts of a node: expressions in its parameters and its hooks, run by the service that wiring hands over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from flowrunner.errors import FlowRunnerError
from flowrunner.jsonvalue import JSONValue
from flowrunner.ports.secrets import SecretSource
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.secrecy import SECRET_NOT_FOUND, expose

Secret = Callable[[str], Awaitable[JSONValue]]
Log = Callable[[str, str, JSONValue], None]


class Scripts(Protocol):
    """Runs JavaScript where it can do no harm. Raises NodeFailed: ``FlowRunner.ScriptError``, ``.ScriptTimeout``, ``.ScriptMemory``, ``.ScriptOutput``.

    `names` are the script's variables. `secret` gives what ``secrets.NAME`` is, asked only for the names that the script reads. `log` takes
    (level, message, data) of each line of ``console``. `limits` bounds time, memory and output; None means the service's own bounds.
    """

    async def run(self, source: str, *, names: Mapping[str, JSONValue], secret: Secret, log: Log, limits: Any = None) -> JSONValue:
        """What a function with this body returns, or what this expression is; None when it returns nothing."""
        ...

    async def fill(self, value: JSONValue, *, names: Mapping[str, JSONValue], secret: Secret, log: Log, limits: Any = None) -> JSONValue:
        """`value` with every ``${ expression }`` in it evaluated; a text that is one expression becomes its value, whatever it is."""
        ...


class NoScripts:
    """A server without scripts."""

    async def run(self, source: str, *, names: Mapping[str, JSONValue], secret: Secret, log: Log, limits: Any = None) -> JSONValue:
        """Raise NodeFailed, always."""
        del source, names, secret, log, limits
        raise NodeFailed("This server runs no scripts.", error="FlowRunner.ScriptError")

    async def fill(self, value: JSONValue, *, names: Mapping[str, JSONValue], secret: Secret, log: Log, limits: Any = None) -> JSONValue:
        """`value`, if there is no expression in it; raises NodeFailed otherwise."""
        if has_expression(value):
            await self.run("", names=names, secret=secret, log=log, limits=limits)
        return value


def has_expression(value: JSONValue) -> bool:
    """Whether there is a ``${`` anywhere in a value's texts."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            if "${" in part:
                return True
        elif isinstance(part, dict):
            stack.extend(part.values())
        elif isinstance(part, list):
            stack.extend(part)
    return False


class Scripting:
    """The scripts service together with the account's secrets."""

    def __init__(self, scripts: Scripts, secrets: SecretSource) -> None:
        self._scripts = scripts
        self._secrets = secrets

    async def run(self, source: str, *, account: str, names: Mapping[str, JSONValue], log: Log, limits: Any = None) -> JSONValue:
        """Run a script of this account. Raises NodeFailed."""
        return await self._scripts.run(source, names=names, secret=self._secret(account), log=log, limits=limits)

    async def fill(self, value: JSONValue, *, account: str, names: Mapping[str, JSONValue], log: Log, limits: Any = None) -> JSONValue:
        """Evaluate the expressions in a value; nothing is asked of the service for one that has none. Raises NodeFailed."""
        if not has_expression(value):
            return value
        return await self._scripts.fill(value, names=names, secret=self._secret(account), log=log, limits=limits)

    def _secret(self, account: str) -> Secret:
        async def secret(name: str) -> JSONValue:
            try:
                revealed = await self._secrets.reveal(account, name)
            except FlowRunnerError as error:
                raise NodeFailed(error.message, error=SECRET_NOT_FOUND) from None
            expose(revealed.hidden)  # from now on it is shown in nothing that comes out of this attempt
            return revealed.value

        return secret


def names_of(raw: Mapping[str, JSONValue], account: str) -> dict[str, JSONValue]:
    """What every script of a node can name, beside ``secrets`` and ``console``."""
    execution = raw.get("execution") or {}
    return {
        "input": raw.get("input"),
        "results": raw.get("results") or {},
        "shared": raw.get("shared") or {},
        "variables": raw.get("variables") or {},
        "execution": execution,
        "accountID": account,
        "_flow_context": {"account_id": account, **(execution if isinstance(execution, dict) else {})},
    }
