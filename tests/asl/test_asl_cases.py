"""Our own definitions and what is said about them: tests/cases/asl/*.json."""

import json
from pathlib import Path

import pytest

from flowrunner.asl.parse import parse_definition

FOLDER = Path(__file__).parents[1] / "cases" / "asl"
CASES = [(path.stem, case) for path in sorted(FOLDER.glob("*.json")) for case in json.loads(path.read_text())]


@pytest.mark.parametrize(("group", "case"), CASES, ids=[f"{group}: {case['name']}" for group, case in CASES])
def test_a_definition_gets_these_diagnostics(group, case):
    """Every diagnostic is expected, in order: code, message and place; line, column and severity where the case names them."""
    text = case["text"] if "text" in case else json.dumps(case["definition"])
    parsed = parse_definition(text, kind=case.get("kind", "STANDARD"), syntax=case.get("syntax", "json"))
    expected = case["diagnostics"]
    found = [{name: getattr(diagnostic, name) for name in want} for diagnostic, want in zip(parsed.diagnostics, expected, strict=False)]
    assert found == expected
    assert [str(extra) for extra in parsed.diagnostics[len(expected) :]] == []
    assert (parsed.program is None) == any(each.severity == "ERROR" for each in parsed.diagnostics)
