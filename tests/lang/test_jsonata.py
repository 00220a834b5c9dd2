"""JSONata as Step Functions speaks it: cases as data, budgets, variables, threads."""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flowrunner.entropy import Entropy
from flowrunner.errors import BudgetExceeded, ExpressionError, ExpressionSyntaxError, JsonataError
from flowrunner.lang.environment import Environment
from flowrunner.lang.jsonata import UNDEFINED, UNSUPPORTED, compile_expression, evaluate

CASES = Path(__file__).parents[1] / "cases" / "jsonata"


def cases(name):
    return [pytest.param(case, id=case["name"]) for case in json.loads((CASES / name).read_text())]


def run(case):
    environment = Environment(variables=case.get("variables", {}), states=case.get("states", {"input": {}}), now=case.get("now", 0))
    return compile_expression(case["expression"]).evaluate(environment)


@pytest.mark.parametrize("case", cases("step_functions.json"))
def test_case(case):
    """Every case of the data file holds, and no evaluation changes its input."""
    before = json.dumps(case.get("states"))
    if "code" in case:
        with pytest.raises(JsonataError) as caught:
            run(case)
        assert caught.value.code == case["code"]
        assert caught.value.message == case.get("message", caught.value.message)
        return
    value = run(case)
    if case.get("undefined"):
        assert value is UNDEFINED
    elif case.get("unsupported"):
        assert value is UNSUPPORTED
    else:
        assert (value, repr(value)) == (case["expect"], repr(case["expect"]))
    assert json.dumps(case.get("states")) == before


@pytest.mark.parametrize("case", cases("hostile.json"))
def test_hostile(case):
    """A hostile expression ends in an error of ours, in bounded time and memory."""
    limit = sys.getrecursionlimit()
    started = time.thread_time()
    try:
        run(case)
    except ExpressionError as error:
        if "code" in case:
            assert error.code == case["code"]
        else:
            assert isinstance(error, (BudgetExceeded, JsonataError))
    else:
        assert case.get("may_succeed")
    assert time.thread_time() - started < 3.0
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)+$", "(a|aa)+$", "(.*a){20}", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_regular_expressions_cannot_hang(pattern):
    """Patterns that make a backtracking engine hang take no time."""
    started = time.thread_time()
    compile_expression(f"$contains($text, /{pattern}/)").evaluate(Environment(variables={"text": "a" * 50_000 + "!"}))
    assert time.thread_time() - started < 1.0


@pytest.mark.parametrize("pattern", [r"(?=(a+)+)b", r"(a+)+(?!x)$", r"a*a*a*(?=b)", r"((a|b)+)+\1"])
def test_look_around_with_many_repeats_is_refused(pattern):
    """What only a backtracking engine can do is refused when it could hang."""
    with pytest.raises(ExpressionSyntaxError, match="S0303"):
        compile_expression(f"$contains($text, /{pattern}/)")


def test_look_around_takes_short_texts_only():
    """A text too long for the backtracking engine is a budget error."""
    with pytest.raises(BudgetExceeded):
        compile_expression("$contains($text, /a*(?=b)/)").evaluate(Environment(variables={"text": "a" * 5000}))


def test_memory_is_bounded():
    """The worst the step budget allows is a few hundred megabytes, not gigabytes."""
    tracemalloc.start()
    try:
        with pytest.raises(BudgetExceeded):
            compile_expression("$map([1..100000], function($i){[1..100000]})").evaluate(Environment())
        assert tracemalloc.get_traced_memory()[1] < 300_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["(" * 20_000 + "1" + ")" * 20_000, "[" * 3000, "1" + "+1" * 30_000, "x" * 100_000, "-" * 20_000 + "1"])
def test_expressions_too_large_do_not_compile(text):
    """Depth and length are syntax errors, never a RecursionError."""
    with pytest.raises(ExpressionSyntaxError, match=r"^S0"):
        compile_expression(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("(1", "S0203"),
        ("1 +", "S0207"),
        ("a.[", "S0203"),
        ("'a", "S0101"),
        ("1 2", "S0201"),
        ("[1)", "S0202"),
        ("/a", "S0302"),
        ("//", "S0301"),
        ("/(/", "S0302"),
        ("", "S0207"),
    ],
)
def test_syntax_errors_have_a_code(text, code):
    """The message of a syntax error begins with JSONata's code."""
    with pytest.raises(ExpressionSyntaxError) as caught:
        compile_expression(text)
    assert caught.value.message.startswith(f"{code}: ")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("$a + $b.c", {"a", "b"}),
        ("$states.input.$x", {"x"}),
        ("($y := $z; $y + 1)", {"z"}),
        ("(($y := 1); $y)", {"y"}),
        ("($y := $y)", {"y"}),
        ("function($p){$p + $q}(1)", {"q"}),
        ("$sum($list[$ > $least])", {"list", "least"}),
        ("$list@$i#$n.($i.a + $n)", {"list"}),
        ("$list{$key: $value}", {"list", "key", "value"}),
        ("$o ~> |$pattern|{'a': $u}, $d|", {"o", "pattern", "u", "d"}),
        ("$a ? $b : $c", {"a", "b", "c"}),
        ("$a ?: $b", {"a", "b"}),
        ("$list^($term)", {"list", "term"}),
        ("$ & $$ & $now()", set()),
        ("$f(?, $x)", {"f", "x"}),
    ],
)
def test_variables(text, names):
    """The variables an expression takes from the workflow are known without evaluating it."""
    assert compile_expression(text).variables == names


def test_input_is_passed_on_not_copied():
    """A part of the input in a result is the very same object."""
    states = {"input": {"list": [1, 2], "object": {"a": 1}}}
    environment = Environment(states=states)
    assert compile_expression("$states.input").evaluate(environment) is states["input"]
    made = compile_expression("{'l': $states.input.list, 'o': $states.input.object}").evaluate(environment)
    assert made["l"] is states["input"]["list"]
    assert made["o"] is states["input"]["object"]
    assert type(made) is dict


def test_results_are_plain():
    """No class of the evaluator leaves it."""

    def types(value):
        yield type(value)
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from types(part)

    value = compile_expression("{'a': [1..3], 'b': $map([1,2], function($v){{'v': $v}}), 'c': $keys({'x': 1, 'y': 2}), 'd': [[1],[2]]}").evaluate(Environment())
    assert set(types(value)) <= {dict, list, int, str}


def test_randomness_comes_from_the_environment():
    """The same entropy gives the same draws; each draw moves on."""
    expression = compile_expression("{'r': $random(), 'u': $uuid(), 's': $shuffle([1..20])}")
    first = expression.evaluate(Environment(entropy=Entropy(b"0" * 16)))
    again = expression.evaluate(Environment(entropy=Entropy(b"0" * 16)))
    other = expression.evaluate(Environment(entropy=Entropy(b"1" * 16)))
    assert first == again != other
    assert sorted(first["s"]) == list(range(1, 21))
    entropy = Entropy(b"0" * 16)
    assert len({compile_expression("$uuid()").evaluate(Environment(entropy=entropy)) for _ in range(5)}) == 5


def test_threads_do_not_disturb_each_other():
    """One expression may be evaluated in many threads at once."""
    expression = compile_expression("($s := 0; $f := function($n){$n = 0 ? 0 : $n + $f($n - 1)}; $f($k))")
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda k: expression.evaluate(Environment(variables={"k": k % 60})), range(400)))
    assert results == [(k % 60) * (k % 60 + 1) // 2 for k in range(400)]


def test_plain_evaluation():
    """`evaluate` is JSONata itself: a document, bindings, ``$eval``, and U1001 for the budget."""
    assert evaluate("a.b + $x", {"a": {"b": 1}}, {"x": 2}) == 3
    assert evaluate("$eval('a + 1')", {"a": 1}) == 2
    assert evaluate("nothing", {}) is None
    assert evaluate("$", [1]) == [1]
    with pytest.raises(JsonataError) as caught:
        evaluate("($f := function(){$f()}; $f())", None)
    assert caught.value.code == "U1001"
    with pytest.raises(JsonataError) as caught:
        evaluate("1 +", None)
    assert caught.value.code == "S0207"
