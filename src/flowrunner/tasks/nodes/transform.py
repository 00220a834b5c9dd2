"""``transform``: makes a value of the input with JavaScript."""

from __future__ import annotations

from flowrunner.kinds.scripting import TRANSFORM
from flowrunner.ports.tasks import begin
from flowrunner.tasks.nodes.kind import NodeCall, NodeKind, NodeResult
from flowrunner.tasks.nodes.reading import given, text
from flowrunner.tasks.nodes.scripting import Scripting


class TransformKind(NodeKind):
    """Gives what its script returns, or its input when it has no script."""

    info = TRANSFORM

    def __init__(self, scripting: Scripting) -> None:
        self._scripting = scripting

    async def run(self, call: NodeCall) -> NodeResult:
        """Takes the edge ``success``."""
        if given(call.params, "script") is None:
            return NodeResult(call.input)
        source = text(call.params, "script", default="")
        await begin()
        outcome = await self._scripting.run(call, source)
        return NodeResult(outcome.value, shared=outcome.shared)
