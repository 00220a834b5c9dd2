"""``script``: JavaScript with arguments and a bound on its time; Python only as a function that the operator has registered."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from flowrunner.jsonvalue import JSONValue
from flowrunner.kinds.scripting import SCRIPT
from flowrunner.ports.tasks import begin
from flowrunner.tasks.javascript.calls import LONGEST_MILLISECONDS
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.reading import bad, flag, given, mapping, optional_text, seconds, text
from flowrunner.tasks.nodes.scripting import Scripting

DEFAULT_SECONDS = 30.0
NOTHING_RETURNED = "The script returned nothing, and is to return something (strict)."
_PYTHON = "Python runs only as a function that the operator has registered: write it under [functions] in flowrunner.toml and name it here with 'function'. Or write the script in JavaScript."


class Functions(Protocol):
    """The functions that the operator has registered."""

    async def call(self, name: str, event: JSONValue, node: NodeCall) -> JSONValue:
        """What the function returns. Raises NodeFailed, also when there is no function of this name."""
        ...

    def idempotent(self, name: str) -> bool:
        """Whether it may be called again when nobody knows how it ended."""
        ...


class ScriptKind(NodeKind):
    """Gives what the script returns. It sees ``args`` and ``env`` beside the usual names."""

    info = SCRIPT

    def __init__(self, scripting: Scripting, functions: Functions | None = None) -> None:
        self._scripting = scripting
        self._functions = functions

    def idempotent(self, call: NodeCall) -> bool:
        """JavaScript is seen nowhere outside; a function is as it was registered."""
        name = call.params.get("function")
        return name is None or (self._functions is not None and isinstance(name, str) and self._functions.idempotent(name))

    async def run(self, call: NodeCall) -> NodeResult:
        """Takes the edge ``success``."""
        language = text(call.params, "language", default="javascript").lower()
        name = optional_text(call.params, "function")
        if language in ("python", "python3"):
            if not name or self._functions is None:
                raise bad(_PYTHON)
            event = given(call.params, "args")
            return NodeResult(await self._functions.call(name, call.input if event is None else event, call))
        if language not in ("javascript", "js"):
            raise bad(f"The language {language[:40]!r} is not to be had here. Write the script in JavaScript, or use a node of the kind command.")
        if name is not None:
            raise bad("The parameter 'function' names a registered Python function: write language: python, or give the source in 'script'.")
        return await self._javascript(call)

    async def _javascript(self, call: NodeCall) -> NodeResult:
        source = text(call.params, "script")
        longest = seconds(call.params, "timeout", default=DEFAULT_SECONDS, high=LONGEST_MILLISECONDS / 1000)
        limits = replace(self._scripting.limits, milliseconds=max(1, round(longest * 1000)))
        names = {"args": call.params.get("args"), "env": mapping(call.params, "env")}
        strict = flag(call.params, "strict", default=False)
        await begin()
        outcome = await self._scripting.run(call, source, names=names, limits=limits)
        if strict and not outcome.defined:
            raise NodeFailed(NOTHING_RETURNED, error="FlowRunner.ScriptError")
        return NodeResult(outcome.value, shared=outcome.shared)
