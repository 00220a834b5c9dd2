"""No text makes JSONata raise anything but our own errors."""

from __future__ import annotations

import random

import pytest

from flowrunner.errors import ExpressionError
from flowrunner.lang.jsonata import INTERNAL, evaluate
from flowrunner.lang.jsonata.functions import BUILT_IN

VALUES = [
    "1",
    "-1",
    "0",
    "1e300",
    "-1.5",
    "null",
    "true",
    "'x'",
    "''",
    "'[Y]-[M01]'",
    "'#,##0.00'",
    "'w'",
    "[]",
    "[1,2]",
    "[null]",
    "['a','b']",
    "{}",
    "{'a':1}",
    "[[1],[2]]",
    "function($x){$x}",
    "function($a,$b){$a}",
    "$sum",
    "/a/",
    "/(x)?/i",
    "nope",
    "'\\uD800'",
    "'2020-01-01'",
    "'+0530'",
    "1/0",
    "0/0",
    "$",
    "items",
    "'0e0'",
    "'$1'",
    "[1..5]",
]
NOISE = [*"()[]{}.,:;?@#%^*&|~><=/'\"`\\$ \n1ae-+", "λ", ":=", "**", "..", "/*", "*/", "function($a)", "$map("]
DOCUMENT = {"items": [{"id": 1, "n": "x"}, {"id": 2}], "list": [3, 1, 2], "a": {"b": None}}


def texts(draw):
    yield f"${draw.choice([*BUILT_IN, 'eval'])}({', '.join(draw.choice(VALUES) for _ in range(draw.randint(0, 4)))})"
    yield "".join(draw.choice([*NOISE, *VALUES]) for _ in range(draw.randint(1, 8)))
    yield f"({draw.choice(VALUES)}){draw.choice(['.', '[0]', ' ~> ', '^(', '{', ' + ', ' & ', ' in ', '..'])}{draw.choice(VALUES)}{draw.choice(['', ')', '}', ']'])}"


@pytest.mark.parametrize("seed", range(4))
def test_only_our_errors(seed):
    """Calls with any arguments and broken text end in a value or in an expression error, never in a mistake of ours."""
    draw = random.Random(seed)
    for _ in range(500):
        for text in texts(draw):
            try:
                evaluate(text, DOCUMENT, {})
            except ExpressionError as error:
                assert error.code != INTERNAL, text
