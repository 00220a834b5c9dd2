"""Commands that take workflows and test cases: validate, graph, run."""

import json
from pathlib import Path

import pytest

from flowrunner.cli.main import run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("name", ["two_step_workflow.json", "user_test_case.json"])
def test_the_examples_are_valid(name, capsys):
    assert run(["validate", str(EXAMPLES / name)]) == 0
    assert "It is valid" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n "steps": {"a": {"type": "comand"}}}', ":2:"),
        ('{\n "steps": {"a": {"type": "comand"}}}', "Did you mean 'command'?"),
        ('{"testId": "t",\n "type": "http"}', "There is nothing to test"),
        ('{"testId": "t",\n "steps": [}', "error:"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, said, tmp_path, capsys):
    file = tmp_path / "w.json"
    file.write_text(text, encoding="utf-8")
    assert run(["validate", str(file)]) == 3
    assert said in capsys.readouterr().out


def test_a_workflow_is_drawn(capsys):
    """Its steps, and who waits for whom."""
    assert run(["graph", str(EXAMPLES / "two_step_workflow.json")]) == 0
    drawn = capsys.readouterr().out
    assert drawn.index("step1") < drawn.index("step2")
    assert "-->" in drawn


def test_what_the_compiler_adds_is_not_drawn(tmp_path, capsys):
    """A step that may fail is one box, and what waits for it hangs on it."""
    file = tmp_path / "w.json"
    one, other = '{"type": "command", "config": {"command": "x"}, "onError": "continue"}', '{"type": "merge", "dependsOn": ["a"]}'
    file.write_text(f'{{"steps": {{"a": {one}, "b": {other}}}}}', encoding="utf-8")
    assert run(["graph", str(file)]) == 0
    drawn = capsys.readouterr().out
    assert "failed" not in drawn
    assert "sn0_0 --> sn1_0" in drawn


@pytest.mark.parametrize("text", ['{"steps": {"a": {"type": "merge"}}}', '{"testId": "t", "name": "t", "steps": [{"id": "a", "type": "merge"}]}'])
@pytest.mark.parametrize("name", ["environment.secrets", "nodes.a", "$x"])
def test_names_that_no_variable_has_are_refused(text, name, tmp_path, capsys):
    """With the name, before anything runs."""
    file = tmp_path / "w.json"
    file.write_text(text, encoding="utf-8")
    assert run(["run", str(file), "--input", json.dumps({name: {}})]) != 0
    told = capsys.readouterr()
    assert (told.out, f"'{name}'" in told.err, "Traceback" in told.err) == ("", True, False)
