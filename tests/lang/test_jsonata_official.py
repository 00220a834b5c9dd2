"""The official JSONata test suite, when it is at hand (``FLOWRUNNER_CONFORMANCE``, or ``../shared/conformance`` beside the checkout)."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from flowrunner.errors import JsonataError
from flowrunner.lang.jsonata import evaluate

ROOT = Path(__file__).parents[2]
EXCEPTIONS = json.loads((ROOT / "tests" / "cases" / "jsonata" / "official_exceptions.json").read_text())
LEAST = 0.97


def suite():
    folder = Path(os.environ.get("FLOWRUNNER_CONFORMANCE", ROOT.parent / "shared" / "conformance")) / "jsonata"
    if not (folder / "open").is_dir():
        pytest.skip(f"the official JSONata suite is not in {folder}; set FLOWRUNNER_CONFORMANCE")
    for file in sorted((folder / "open").glob("*.json")):
        for case in json.loads(file.read_text())["cases"]:
            dataset = case.get("dataset")
            yield case, json.loads((folder / "datasets" / f"{dataset}.json").read_text()) if dataset else case.get("data")


def same(left, right):
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return math.isclose(left, right, rel_tol=1e-12, abs_tol=1e-15)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def holds(case, data):
    try:
        value = evaluate(case["expr"], data, case.get("bindings") or {})
    except JsonataError as error:
        return error.code == (case.get("code") or (case.get("error") or {}).get("code"))
    if "result" in case:
        unordered = case.get("unordered") and isinstance(value, list)
        return same(case["result"], value) or bool(unordered and sorted(map(repr, value)) == sorted(map(repr, case["result"])))
    return bool(case.get("undefinedResult")) and value is None


def test_official_suite():
    """At least 97 % of the official suite holds, and each case that does not is explained."""
    outcomes = {case["id"]: holds(case, data) for case, data in suite()}
    failing = {name for name, right in outcomes.items() if not right}
    assert failing - EXCEPTIONS.keys() == set()
    assert (EXCEPTIONS.keys() & outcomes.keys()) - failing == set(), "these hold now: take them off the list"
    assert 1 - len(failing) / len(outcomes) >= LEAST
