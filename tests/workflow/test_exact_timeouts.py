"""The longest a whole run may take is what its author wrote, to the millisecond."""

import json

import pytest
from workflowplay import START, Player

from flowrunner.core import facts
from flowrunner.core.machine import Machine
from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import BUILT_IN
from flowrunner.limits import OPEN
from flowrunner.workflow.parse import parse_workflow
from flowrunner.workflow.testcase import parse_testcase

WAITS = {"type": "delay", "config": {"duration": "30s"}}


def flow_of(timeout):
    return f"metadata: {{name: f}}\ntimeout: {timeout}\nnodes: {{a: {{type: delay, params: {{duration: 30s}}}}}}\n"


def workflow_of(timeout):
    return {"name": "w", "timeout": timeout, "steps": {"a": WAITS}}


def case_of(timeout):
    return {"testId": "t", "name": "t", "timeout": timeout, "steps": [{"id": "a", **WAITS}]}


def parse_flow_as_others(text, kinds, templates, **options):
    del templates
    return parse_flow(text, kinds, **options)


FORMS = [(workflow_of, parse_workflow), (case_of, parse_testcase), (flow_of, parse_flow_as_others)]


@pytest.mark.parametrize(("definition", "parse"), FORMS)
@pytest.mark.parametrize(("timeout", "milliseconds", "said"), [("300ms", 300, "0.3"), ("1100ms", 1100, "1.1"), ("0.0015s", 2, "0.002"), ("2s", 2000, "2")])
def test_the_timeout_is_exact(definition, parse, timeout, milliseconds, said):
    """Below a second and between two."""
    played = Player(definition(timeout), parse=parse, restored=True)
    played.wake()
    assert played.now - START == milliseconds
    assert (played.outcome.status, played.outcome.error, played.outcome.cause) == ("TIMED_OUT", "States.Timeout", f"The execution took longer than {said} s.")


@pytest.mark.parametrize(("definition", "parse"), FORMS)
def test_what_was_kept_with_nothing_keeps_its_second(definition, parse):
    """Earlier releases took 0 and rounded it up; a text that is new is refused."""
    text = definition("0s")
    text = text if isinstance(text, str) else json.dumps(text)
    assert parse(text, BUILT_IN, None).program is None
    assert parse(text, BUILT_IN, None, kept=True).program.timeout_milliseconds == 1000


def test_a_snapshot_of_before_keeps_its_deadline():
    """It holds the moment, whatever the program says by now."""
    played = Player(workflow_of("5s"))
    changed = Player(workflow_of("300ms"))
    restored = Machine.restore(changed.program, played.identity, played.machine.snapshot(), OPEN)
    assert restored.wake_at == START + 5000
    restored.apply(facts.TimerFired(at=START + 5000))
    assert restored.outcome.status == "TIMED_OUT"
