"""Recorded answers of the service, where the corpus is at hand: payload templates and timestamps of its cases."""

import json
import os
from pathlib import Path

import pytest

from flowrunner.lang.environment import Environment
from flowrunner.lang.jsonpath import compile_path
from flowrunner.lang.moment import is_timestamp, parse_nanoseconds
from flowrunner.lang.template import compile_template

FOLDER = Path(os.environ.get("FLOWRUNNER_CONFORMANCE") or Path(__file__).parents[3] / "shared" / "conformance")
COMPARE = {
    "Equals": lambda left, right: left == right,
    "LessThan": lambda left, right: left < right,
    "GreaterThan": lambda left, right: left > right,
    "LessThanEquals": lambda left, right: left <= right,
    "GreaterThanEquals": lambda left, right: left >= right,
}


def executions(*patterns):
    if not (FOLDER / "open").is_dir():
        pytest.skip(f"no conformance corpus at {FOLDER} (set FLOWRUNNER_CONFORMANCE)")
    files = sorted(file for pattern in patterns for file in (FOLDER / "open").glob(pattern))
    found = [(file.stem, json.loads(file.read_text())) for file in files if "jsonata" not in file.name.lower()]
    return [(name, case, case["definition"]["States"][case["definition"]["StartAt"]]) for name, case in found if case["kind"] == "execution"]


def test_templates():
    """Templates of single Pass states give the recorded output."""
    wrong, right = [], 0
    for name, case, state in executions("intrinsic_functions/*.json", "base/*json_path*.json", "scenarios/*ESCAPE_SEQUENCES_JSONPATH.json"):
        expected = case["expect"]["output"]
        if state["Type"] != "Pass" or "{{" in json.dumps(expected):
            continue
        given = case.get("input", {})
        value = compile_template(state["Parameters"]).evaluate(Environment(document=given, context={"Execution": {"Input": given}}))
        value = compile_path(state.get("ResultPath", "$")).write(given, value)
        value = compile_path(state.get("OutputPath", "$")).evaluate(Environment(document=value))
        if value == expected:
            right += 1
        else:
            wrong.append((name, value, expected))
    assert wrong == []
    assert right > 50


def test_timestamp_rules():
    """Timestamp rules of Choice states decide as recorded."""
    wrong, right = [], 0
    for name, case, state in executions("choice_operators/*imestamp*.json"):
        document = Environment(document=case["input"])
        rule = state["Choices"][0]
        operator = next(key for key in rule if "Timestamp" in key)
        left, right_side = compile_path(rule["Variable"]).evaluate(document), rule[operator]
        if operator == "IsTimestamp":
            holds = is_timestamp(left) == right_side
        else:
            if operator.endswith("Path"):
                right_side = compile_path(right_side).evaluate(document)
            compare = COMPARE[operator.removeprefix("Timestamp").removesuffix("Path")]
            holds = is_timestamp(left) and is_timestamp(right_side) and compare(parse_nanoseconds(left), parse_nanoseconds(right_side))
        if holds == ("ConditionTrue" in json.dumps(case["expect"]["output"])):
            right += 1
        else:
            wrong.append(name)
    assert wrong == []
    assert right
