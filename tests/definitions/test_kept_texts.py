"""What was kept by a release that looked less closely goes on to run; the same text is refused when it is to be kept."""

import json

import pytest

from flowrunner.asl.parse import parse_definition
from flowrunner.errors import InvalidDefinition
from flowrunner.formats import READERS, compile_revision
from flowrunner.kinds import BUILT_IN
from flowrunner.ports.definitions import Revision

FLOW = "metadata: {name: x}\nnodes:\n  a: {type: http.request, params: {url: h}, timeout: 0}\n"
STEPS = {
    "steps": {
        "a": {"type": "http", "config": {"url": "h", "expectedStatus": 7}, "timeout": 0},
        "l": {"type": "loop", "config": {"type": "count", "count": -1, "itemVar": "a.b", "children": []}},
    }
}
TEST = {"testId": "t", "http": {"url": "h"}, "assertions": [{"type": "status_code", "expected": 7}, {"type": "regex", "path": "a", "expected": "("}]}
TEXTS = [("flow", FLOW), ("workflow", json.dumps(STEPS)), ("test", json.dumps(TEST))]


def revision(form, text):
    return Revision(id="r", account="1", machine=f"{form}/x", definition=text, role_arn="", created_at=0, settings={"format": form})


@pytest.mark.parametrize(("form", "text"), TEXTS)
def test_kept_texts_run_on(form, text):
    """With warnings in place of refusals."""
    assert READERS[form](text, BUILT_IN, {}).program is None
    assert compile_revision(revision(form, text), BUILT_IN) is not None
    found = READERS[form](text, BUILT_IN, {}, kept=True).diagnostics
    assert found
    assert "ERROR" not in {one.severity for one in found}


def test_a_kept_machine_runs_on():
    """With what AWS refuses and we did not: retriers behind one for all errors, a path of a Map that is a query."""
    retriers = [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["X"]}]
    inner = {"StartAt": "I", "States": {"I": {"Type": "Pass", "Assign": {"a-b": 1}, "End": True}}}
    text = json.dumps({"StartAt": "M", "States": {"M": {"Type": "Map", "ItemsPath": "$.a[*]", "ItemProcessor": inner, "Retry": retriers, "End": True}}})
    assert parse_definition(text).program is None
    program = compile_revision(Revision(id="r", account="1", machine="m", definition=text, role_arn="", created_at=0), BUILT_IN)
    assert len(program.root.states["M"].retriers) == 2


def test_what_cannot_be_compiled_is_told():
    """Whenever it is read."""
    with pytest.raises(InvalidDefinition):
        compile_revision(revision("flow", "nodes: {}"), BUILT_IN)
