"""The kind ``assert``."""

from __future__ import annotations

from flowrunner.kinds.checks import ASSERT
from flowrunner.tasks.nodes.assertions import MOST_ASSERTIONS, check, failure, summary
from flowrunner.tasks.nodes.kind import NodeCall, NodeKind, NodeResult
from flowrunner.tasks.nodes.reading import bad, flag


class AssertKind(NodeKind):
    """Evaluates assertions; the node succeeds when all hold."""

    info = ASSERT

    async def run(self, call: NodeCall) -> NodeResult:
        """``{passed, total, failed, assertions}``. Raises NodeFailed ``FlowRunner.AssertionFailed`` with it in the cause."""
        assertions = call.params.get("assertions")
        if not isinstance(assertions, list) or not 0 < len(assertions) <= MOST_ASSERTIONS:
            raise bad(f"The parameter 'assertions' must be a list of 1 to {MOST_ASSERTIONS} assertions.")
        stop = flag(call.params, "stopOnFirst", default=False)
        checked = []
        for number, assertion in enumerate(assertions):
            checked.append(check(assertion, call.input, f"assertions[{number}]"))
            if stop and not checked[-1].passed:
                break
        output = summary(checked)
        if not output["passed"]:
            raise failure(output)
        return NodeResult(output)
