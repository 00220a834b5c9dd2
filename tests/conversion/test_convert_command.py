"""``flowrunner convert``: what it prints, where it says what, and its exit codes."""

import json

import pytest
from twice import PARSERS, refusals

from flowrunner.cli.main import run
from flowrunner.conversion import CONVERTERS, convert
from flowrunner.jsonvalue import dumps
from flowrunner.kinds import BUILT_IN
from flowrunner.reading.document import read_document

FLOW = "metadata: {name: Named}\nnodes:\n  wait: {type: delay, params: {duration: 2}}\n"
WORKFLOW = '{"steps": {"a": {"type": "merge"}}}'
MACHINE_YAML = "QueryLanguage: JSONata\nStartAt: A\nStates:\n  A:\n    Type: Wait\n    Seconds: 2\n    End: true\n"
MACHINE = '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}'


def told(capsys, text, to, tmp_path, name):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    code = run(["convert", str(file), "--to", to])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize(
    ("text", "name", "to"),
    [(FLOW, "x.flow.yaml", "flow"), (WORKFLOW, "x.json", "workflow"), (MACHINE, "x.asl.json", "asl"), (MACHINE_YAML, "x.asl.yaml", "asl")],
)
def test_a_format_is_not_converted_to_itself(text, name, to, tmp_path, capsys):
    """It is said what it is; the exit code is that of a wrong use."""
    code, out, err = told(capsys, text, to, tmp_path, name)
    assert (code, out) == (2, "")
    assert "already" in err


def test_a_test_case_is_not_converted(tmp_path, capsys):
    """It says what is tested, not what is done."""
    code, out, err = told(capsys, '{"testId": "t", "http": {"url": "http://x"}}', "asl", tmp_path, "x.json")
    assert (code, out) == (3, "")
    assert "is a test case" in err


def test_what_is_printed_is_valid(tmp_path, capsys):
    """There and back; a flow gets the file's name."""
    code, out, _ = told(capsys, FLOW, "asl", tmp_path, "there.yaml")
    assert code == 0
    code, out, _ = told(capsys, out, "flow", tmp_path, "back.asl.json")
    assert code == 0
    assert json.loads(out) == {"metadata": {"name": "back"}, "start": "wait", "nodes": {"wait": {"type": "delay", "params": {"duration": 2}}}}
    assert told(capsys, out, "asl", tmp_path, "again.json")[0] == 0
    code, out, _ = told(capsys, WORKFLOW, "asl", tmp_path, "w.json")
    code, out, _ = told(capsys, out, "workflow", tmp_path, "w.asl.json")
    assert (code, json.loads(out)) == (0, {"name": "w", "steps": {"a": {"type": "merge"}}})


def test_steps_are_another_name_of_a_workflow(tmp_path, capsys):
    """The format has two names, and converting to either gives the same."""
    machine = told(capsys, WORKFLOW, "asl", tmp_path, "w.json")[1]
    assert told(capsys, machine, "steps", tmp_path, "w.asl.json") == told(capsys, machine, "workflow", tmp_path, "w.asl.json")
    assert told(capsys, WORKFLOW, "steps", tmp_path, "w.json")[0] == 2


def test_places_are_those_of_the_file(tmp_path, capsys):
    """Also where a state machine is YAML."""
    code, out, err = told(capsys, MACHINE_YAML, "flow", tmp_path, "x.asl.yaml")
    assert (code, out) == (3, "")
    assert "x.asl.yaml:4:" in err
    assert "/States/A/Output [CANNOT_CONVERT]" in err


def test_a_broken_definition_is_said_to_be_broken(tmp_path, capsys):
    """It is not converted."""
    code, out, err = told(capsys, '{"steps": {"a": {"type": "nope"}}}', "asl", tmp_path, "x.json")
    assert (code, out) == (3, "")
    assert "UNKNOWN_KIND" in err


def test_flows_and_workflows_are_not_each_other():
    """Their data and their tasks are not the same."""
    flow = {"metadata": {"name": "x"}, "nodes": {"a": {"type": "transform"}}}
    assert [place for place, _ in refusals(flow, "flow", "workflow")] == ["/nodes"]
    assert [place for place, _ in refusals(WORKFLOW, "workflow", "flow")] == ["/steps"]


def machines(value):
    """Every definition within the cases of other tests."""
    if isinstance(value, dict):
        if "StartAt" in value and "States" in value:
            yield value
        for part in value.values():
            yield from machines(part)
    elif isinstance(value, list):
        for part in value:
            yield from machines(part)


def test_any_state_machine_is_converted_or_refused(pytestconfig):
    """Nothing else happens, whatever the machine does."""
    counts = {"converted": 0, "refused": 0}
    for file in sorted((pytestconfig.rootpath / "tests" / "cases").rglob("*.json")):
        for machine in machines(read_document(file.read_text(encoding="utf-8"), "json").value):
            text = dumps(machine)
            if PARSERS["asl"](text).program is None:
                continue
            for to in ("flow", "workflow"):
                made = convert(text, "asl", to, BUILT_IN)
                counts["refused" if made.definition is None else "converted"] += 1
                assert made.definition is None or PARSERS[to](dumps(made.definition)).program is not None
                assert made.definition is not None or all(found.code == "CANNOT_CONVERT" for found in made.diagnostics)
    assert counts["refused"] > 100


def test_every_pair_of_formats_has_its_converter():
    """Six ways."""
    formats = ("asl", "flow", "workflow")
    assert set(CONVERTERS) == {(one, other) for one in formats for other in formats if one != other}
