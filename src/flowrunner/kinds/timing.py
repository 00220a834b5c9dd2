"""Kinds about time: delay, wait, cron."""

from __future__ import annotations

from flowrunner.kinds.formats import CRON as CRON_FORMAT
from flowrunner.kinds.formats import MOMENT, TIME_ZONE
from flowrunner.kinds.http import BAD_PARAMETERS
from flowrunner.kinds.info import KindInfo, anything, boolean, choice, duration, fields, integer, number, script, text
from flowrunner.kinds.scripting import SCRIPT_ERRORS

DELAY = KindInfo(
    name="delay",
    title="Delay",
    description="Waits for a duration, durably: a waiting execution costs a row in the store and survives a restart.",
    parameters=fields(
        {
            "duration": duration("How long."),
            "unit": choice("The unit of a number in `duration`.", "ms", "s", "m", "h", default="s"),
            "jitter": number("A random part of the duration, 0 to 1, that is added.", minimum=0, maximum=1),
        },
        "duration",
    ),
    outputs=anything("The input."),
    errors=(BAD_PARAMETERS, *SCRIPT_ERRORS),
    pure=True,
    structural=True,
)
WAIT = KindInfo(
    name="wait",
    title="Wait",
    description="Waits for a duration, until a time, or until a condition holds that is evaluated again and again.",
    parameters=fields(
        {
            "type": choice("What is waited for.", "duration", "until", "condition"),
            "duration": duration("How long, for `duration`."),
            "until_time": text("When, RFC 3339, for `until`.", format=MOMENT),
            "condition": script(
                "For `condition`: waits until it is true. In a flow JavaScript, which sees what scripts see, and `attempt`, from 1; in a workflow a condition with `{{ }}`."
            ),
            "interval": duration("Between two evaluations of the condition.", "1s"),
            "max_attempts": integer("The most evaluations of the condition.", minimum=1, default=60),
            "timeout": duration("The longest to wait for the condition.", limit=True),
        }
    ),
    outputs=anything("The input; for a condition `{met, attempts}`. In a workflow a condition that is not met in time fails the step."),
    actions=("success", "timeout"),
    errors=(
        BAD_PARAMETERS,
        *SCRIPT_ERRORS,
        (
            "States.Timeout",
            "an attempt to evaluate the condition took longer than the node's `timeout`; in a workflow: the condition did not come about in time",
        ),
    ),
    pure=True,
    structural=True,
)
CRON = KindInfo(
    name="cron",
    title="Schedule",
    description=(
        "Makes, lists, shows and deletes schedules that start a flow or a workflow, with five or six fields (seconds first) and a time zone. Each time fires once, "
        "on however many servers; times that passed while no server ran are made up for once."
    ),
    parameters=fields(
        {
            "operation": choice("What to do.", "schedule", "list", "get", "delete", default="schedule"),
            "op": choice("The same, by its shorter name.", "schedule", "list", "get", "delete"),
            "id": text("The schedule. Default when one is made: the flow's id."),
            "schedule": text("When: `*/5 * * * *`, `0 */5 * * * *`, or `@hourly` and its like.", format=CRON_FORMAT),
            "timezone": text("The time zone, by its IANA name.", default="UTC", format=TIME_ZONE),
            "flow_id": text("The flow to start. Default: this one."),
            "workflow_id": text("Or the workflow to start."),
            "node_id": text("Kept with the schedule."),
            "enabled": boolean("Whether it fires.", default=True),
            "limit": integer("For `list`: the most schedules.", minimum=1, maximum=1000, default=100),
            "after": text("For `list`: only ids after this one."),
            "payload": anything("The input of the executions that it starts."),
        }
    ),
    outputs=anything(
        "`schedule`, `get`: the schedule, with `next_run` and its last 100 `executions`. `list`: `{schedules, count}`. `delete`: `{id, deleted}`."
    ),
    errors=(
        ("FlowRunner.InvalidParameters", "the schedule cannot be read, or another parameter cannot be used; the cause names it"),
        ("FlowRunner.NotFound", "there is no such schedule or flow"),
        ("FlowRunner.NodeFailed", "the schedule could not be kept or found now; the cause says why"),
    ),
)
KINDS = (DELAY, WAIT, CRON)
