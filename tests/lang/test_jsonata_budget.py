"""What ends an expression of a state: its steps alone, and soon."""

import time

import pytest

from flowrunner.errors import BudgetExceeded, ExpressionError
from flowrunner.lang.environment import Environment
from flowrunner.lang.jsonata import compile_expression, values

SECONDS = 2.0  # of processor time, on a slow machine; here all stay below 0.6
STATES = {
    "input": {
        "long": "a" * 250_000,
        "same": "".join(["a"] * 250_000),
        "other": "a" * 249_999 + "b",
        "accents": "é" * 250_000,
        "zeros": [0] * 100_000,
        "numbers": list(range(20_000)),
        "objects": [{"k": number} for number in range(3000)],
    }
}
HOSTILE = {
    "truth of a list": "$count([1..2000].($states.input.zeros and 1))",
    "truth of shared lists": "$boolean($reduce([1..40], function($a, $b){[[$a], [$a]]}, [0]))",
    "threads of a regular expression": "$match($states.input.long, /(a?){500}a{500}b/)",
    "a regular expression that looks to the end for each match": "$count($match($states.input.long, /a*b|a/))",
    "a regular expression with many groups": "$count($match($states.input.long, /" + "()" * 500 + "a/))",
    "a regular expression over and over": "$count([1..40000].$contains($states.input.long, /ab/))",
    "optional parts that backtrack": "$match('" + "a" * 40 + "', /(?=a)" + "a?" * 40 + "a{40}b/)",
    "alternatives that backtrack": "$match('" + "a" * 40 + "', /(?=a)" + "(a|a)" * 40 + "b/)",
    "two repeats that backtrack": "$count([1..1000].$match($substring($states.input.long, 0, 512), /(?=a)a*a*b/))",
    "many matches in other than ASCII": "$count($match($states.input.accents, /é/))",
    "searching": "$count([1..40000][$contains($states.input.long, 'aaaaab')])",
    "cutting": "$count([1..40000].$substring($states.input.long, 1))",
    "equal texts": "$count([1..40000][$states.input.long = $states.input.same])",
    "ordered texts": "$count([1..40000][$states.input.long < $states.input.other])",
    "sorted texts": "$count($sort([1..20000].($ % 2 = 0 ? $states.input.long : $states.input.other)))",
    "texts that are the order": "$count([1..5000]^($ % 2 = 0 ? $states.input.long : $states.input.other))",
    "digits": "$count([1..40000].$formatBase(1e300, 2))",
    "pictures of moments": "$count([1..40000].$fromMillis($ * 1000, '[Y]-[M01]-[D01]T[H01]:[m01]:[s01]'))",
    "moments by a picture": "$count([1..40000].$toMillis('2020-01-02', '[Y]-[M01]-[D01]'))",
    "pictures of numbers": "$count([1..40000].$formatNumber($, '#,##0.00" + "#" * 400 + "'))",
    "a number in words": "$formatInteger(1e300, 'w')",
    "a large expression": "$count([1..5000].(" + "+".join(["$"] * 300) + "))",
    "a large function": "$count($map([1..20000], function($x){" + "+".join(["$x"] * 300) + "}))",
    "names looked up through many scopes": "$count([1..20000].(" + "($a := 1;" * 60 + "+".join(["$y"] * 60) + ")" * 60 + "))",
    "places that are a list": "$count($states.input.numbers[$states.input.numbers])",
    "results that are long": "[1..40000].$states.input.accents",
    "distinct objects": "$count($distinct($states.input.objects))",
    "replacements": "$replace($states.input.long, /a/, $pad('', 3000, '$$'))",
    "escapes": "$count([1..1000].$decodeUrlComponent($pad('', 9999, '%41')))",
    "hashes": "[1..40000].$hash($states.input.long, 'SHA-512')",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_expressions_end_soon(name):
    """Whatever an expression does, its steps are in proportion to its work."""
    environment, began = Environment(states=STATES), time.process_time()
    with pytest.raises(ExpressionError):
        compile_expression(HOSTILE[name]).evaluate(environment)
    assert time.process_time() - began < SECONDS


def test_time_decides_nothing(monkeypatch):
    """On a machine however slow, an expression of a state comes to the same: replay depends on it."""
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr(values, "thread_time", lambda: next(hours))
    assert compile_expression("$count([1..20000].($ * 2))").evaluate(Environment()) == 20_000


def test_a_large_expression_that_is_evaluated_once_is_no_matter():
    """Steps for operators are few: hundreds of them are far from the budget."""
    environment = Environment()
    left = environment.meter.left
    assert compile_expression("+".join(["1"] * 200)).evaluate(environment) == 200
    assert 0 < left - environment.meter.left <= 200


def test_the_budget_is_in_steps():
    """What ends a loop names the steps."""
    with pytest.raises(BudgetExceeded, match="250000 steps"):
        compile_expression("($f := function($n){$f($n + 1)}; $f(1))").evaluate(Environment())
