"""Reading of data-driven cases: ``given / expression / expect`` in JSON files."""

import json
from pathlib import Path

import pytest

from flowrunner.lang.environment import Environment

CASES = Path(__file__).parent.parent / "cases"


def cases(name):
    """The cases of a file as pytest parameters: (environment, case)."""
    content = json.loads((CASES / f"{name}.json").read_text())
    shared = content.get("given", {})
    return [pytest.param(Environment(**shared), case, id=json.dumps(case["expression"])[:80]) for case in content["cases"]]


def typed(value):
    """The JSON text: tells 1 from 1.0 and true, which Python's ``==`` does not."""
    return json.dumps(value, sort_keys=True)
