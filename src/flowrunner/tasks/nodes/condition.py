"""``condition``: picks the edge with JavaScript."""

from __future__ import annotations

from flowrunner.kinds.scripting import CONDITION
from flowrunner.ports.tasks import begin
from flowrunner.tasks.nodes.kind import NodeCall, NodeKind, NodeResult
from flowrunner.tasks.nodes.reading import text
from flowrunner.tasks.nodes.scripting import Scripting
from flowrunner.tasks.nodes.task import action_of


class ConditionKind(NodeKind):
    """Gives what its script returns, and takes the edge that this names; ``success`` when it names none."""

    info = CONDITION

    def __init__(self, scripting: Scripting) -> None:
        self._scripting = scripting

    async def run(self, call: NodeCall) -> NodeResult:
        """The parameter is ``condition_script``, or ``script``."""
        source = text(call.params, "condition_script", "script")
        await begin()
        outcome = await self._scripting.run(call, source)
        return NodeResult(outcome.value, action_of(outcome.value) or "success", outcome.shared)
