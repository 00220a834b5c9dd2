"""Whatever is wrong with a flow or a workflow, there is a remedy for it."""

import ast
import re
from pathlib import Path

import pytest

from flowrunner.reading.hints import HINTS

SOURCE = Path(__file__).parents[2] / "src" / "flowrunner"
FILES = sorted(file for part in ("flow", "workflow") for file in (SOURCE / part).glob("*.py"))


def codes_of(file):
    """The codes of findings that a module names."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and re.fullmatch(r"[A-Z]+(_[A-Z]+)+", str(node.value.value)):
            yield node.value.value


@pytest.mark.parametrize("file", [file for file in FILES if any(codes_of(file))], ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_code_has_a_remedy(file):
    """One that is told where the finding has none of its own."""
    assert set(codes_of(file)) <= HINTS.keys()


def test_no_remedy_is_left_over():
    """Of a code that nobody names any more."""
    known = {code for file in FILES for code in codes_of(file)} | {"INVALID_JSON_DESCRIPTION"}
    assert set(HINTS) <= known
