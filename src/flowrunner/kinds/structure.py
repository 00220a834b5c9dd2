"""Kinds that arrange other nodes: flow, workflow, merge, branch, group, loop. The front ends make states of them."""

from __future__ import annotations

from flowrunner.kinds.http import BAD_PARAMETERS
from flowrunner.kinds.info import KindInfo, anything, boolean, choice, fields, integer, listed, mapping, text

NO_SECRETS = ("FlowRunner.SecretNotAllowed", "what it is given holds a secret, which the history of the other would keep")

FLOW = KindInfo(
    name="flow",
    title="Sub-flow",
    aliases=("sub-flow", "subflow"),
    description="Starts another flow of the account as an execution of its own and waits for its end. Executions nest 32 levels deep.",
    parameters=fields({"flow_id": text("The flow."), "input": anything("Its input. Default: this node's input."), "wait": boolean("Whether to wait for its end.", default=True)}, "flow_id"),
    outputs=anything("What the flow gave; without `wait` `{execution_id}`."),
    actions=("success", "error"),
    errors=(BAD_PARAMETERS, NO_SECRETS, ("States.TaskFailed", "the flow failed, does not exist, or would be nested too deep; the cause is `ERROR: CAUSE` of the flow that failed, or says why none was started")),
    structural=True,
)  # fmt: skip
WORKFLOW = KindInfo(
    name="workflow",
    title="Workflow",
    description="Starts a stored step workflow of the account as a run of its own and waits for its end. Executions nest 32 levels deep.",
    parameters=fields({"workflowId": text("The workflow."), "variables": mapping("Its variables."), "wait": boolean("Whether to wait for its end.", default=True)}, "workflowId"),
    outputs=anything("The run's variables and outputs; without `wait` `{runId}`."),
    errors=(BAD_PARAMETERS, NO_SECRETS, ("States.TaskFailed", "the run failed, the workflow does not exist or would be nested too deep; the cause is `ERROR: CAUSE` of the run, or says why none was started")),
    structural=True,
)  # fmt: skip
MERGE = KindInfo(
    name="merge",
    title="Merge",
    description="Waits for the steps it depends on: all of them, or the first that succeeds (all when none does).",
    parameters=fields({"mode": choice("What is waited for.", "all", "any", default="all")}),
    outputs=anything("The outputs of the steps that have ended, by their ids."),
    pure=True,
    structural=True,
)
BRANCH = KindInfo(
    name="branch",
    title="Branch",
    description="Runs the children of the first branch, by priority, whose condition holds; else those of the branch `default`.",
    parameters=fields(
        {
            "branches": listed(
                "The branches.",
                fields(
                    {
                        "condition": text("A condition, or `default`."),
                        "label": text("The branch's name."),
                        "priority": integer("Lower ones are asked first.", default=0),
                        "children": {"type": ["array", "object"], "description": "Its steps."},
                    },
                    "condition",
                ),
            )
        }
    ),
    outputs=anything("`{selectedBranch}` and the outputs of its steps."),
    pure=True,
    structural=True,
)
GROUP = KindInfo(
    name="group",
    title="Group",
    description="Steps that are one step to others.",
    parameters=fields({"children": {"type": ["array", "object"], "description": "The steps."}}),
    outputs=anything("The outputs of the steps."),
    pure=True,
    structural=True,
)
LOOP = KindInfo(
    name="loop",
    title="Loop",
    description="Repeats its steps for each item of a list, while a condition holds, or a number of times.",
    parameters=fields(
        {
            "type": choice("What is repeated over.", "forEach", "while", "count"),
            "source": anything("For `forEach`: the list."),
            "condition": text("For `while`: goes on while it holds."),
            "count": {"type": ["integer", "string"], "description": "For `count`: how often."},
            "itemVar": text("The variable of the item.", default="item"),
            "indexVar": text("The variable of the index, from 0.", default="index"),
            "maxIterations": integer("The most iterations.", minimum=1, default=100),
            "breakCondition": text("Ends the loop when it holds after an iteration."),
            "continueCondition": text("Skips an iteration for which it holds."),
            "parallel": boolean("For `forEach` and `count`: iterations run at once.", default=False),
            "concurrency": integer("How many at once.", minimum=1, default=10),
            "children": {"type": ["array", "object"], "description": "The steps."},
        }
    ),
    outputs=fields(
        {
            "totalIterations": integer("How many began: fewer than there were to be where it broke off."),
            "completedIterations": integer("How many came through without failing; those that were skipped count."),
            "failedIterations": integer("How many failed."),
            "exitReason": choice("Why it ended.", "completed", "break", "maxIterations", "error", "conditionFalse"),
            "results": listed("What each iteration gave."),
        },
        closed=False,
    ),
    pure=True,
    structural=True,
)
KINDS = (FLOW, WORKFLOW, MERGE, BRANCH, GROUP, LOOP)
