"""Expressions in braces and what they become as JSONata have the same values, whatever the variables hold."""

import jsonata
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from flowrunner.errors import ExpressionError
from flowrunner.lang.braces import compile_braces, compile_condition
from flowrunner.lang.braces.parse import parse
from flowrunner.lang.environment import Environment
from flowrunner.lang.jsonata import evaluate
from flowrunner.workflow.jsonata import Names, Untranslatable, Writer, expression, template

FAILED = "(failed)"
NODES = {"s-1": {"output": {"a": [1, {"b": "x"}], "length": 7, "0": "zero"}, "status": "success"}, "s2": {"output": None, "status": "skipped"}}
NAMES = Names(variables="$variables", nodes="$nodes", certain=frozenset({"sure"}), steps=frozenset(NODES), input="$input")
GIVEN = {"variables": {"x": 1}}
SCALARS = st.sampled_from(
    [None, True, False, 0, 1, -1, 2.5, 3, 10, "", "a", "b", "1", "01", "+1", "1.", " 2.5 ", "1e2", "true", "false", "null", "ab", "é", "10", "9"]
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab01"), inner, max_size=3), max_leaves=6)
VARIABLES = st.dictionaries(st.sampled_from(["x", "y", "user-id", "s2", "input"]), VALUES).map(lambda values: {"sure": 5, **values})
LITERALS = st.sampled_from(["1", "0", "2.5", '"a"', "'1'", "'true'", "true", "false", "null", "''", "10"])
ROOTS = st.sampled_from(["x", "y", "sure", "user-id", "gone", "nodes", "nodes.s-1.output", "nodes.s-1.status", "nodes.no", "s2", "s-1", "$prev", "input", "$x"])
STEPS = st.sampled_from(["", ".a", ".b", ".length", "[0]", "[-1]", "[1]", "['a']", ".0", ".a[1].b", "[0][0]", '["01"]'])
PATHS = st.tuples(ROOTS, STEPS).map("".join)


def grown(inner):
    operators = st.sampled_from(["==", "===", "!=", "!==", "<", ">", "<=", ">=", "&&", "||", "+", "-", "*", "/", "%"])
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
        inner.map(lambda part: f"!{part}"),
        inner.map(lambda part: f"-{part}"),
        st.tuples(st.sampled_from(["$isEmpty", "$isNotEmpty", "$length"]), inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
    )


EXPRESSIONS = st.recursive(PATHS | LITERALS, grown, max_leaves=5)


def by_braces(compiled, variables):
    known = {**variables, **{f"nodes.{name}": kept for name, kept in NODES.items()}}
    environment = Environment(variables=known, states={"input": GIVEN})
    try:
        return compiled.evaluate(environment)
    except ExpressionError:
        return FAILED


def by_jsonata(expression, variables):
    try:
        return evaluate(expression.removeprefix("{%").removesuffix("%}"), None, {"variables": variables, "nodes": NODES, "input": GIVEN})
    except ExpressionError:
        return FAILED


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS, VARIABLES)
@example("x[0]", {"sure": 5, "x": [[]]})
@example("x", {"sure": 5, "x": []})
@example("x == y", {"sure": 5, "x": True, "y": "1"})
@example("$prev.a[1].b", {"sure": 5})
def test_values_are_the_same(expression, variables):
    """Also what stays as it was written, and what fails."""
    text = f"{{{{{expression}}}}}"
    made = template(NAMES, text, "s-1")
    assert by_jsonata(made, variables) == by_braces(compile_braces(text, previous="s-1"), variables)


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS, VARIABLES)
def test_conditions_are_the_same(expression, variables):
    """True or false, never another value."""
    writer = Writer(NAMES)
    made = writer.complete(writer.truth(parse(expression, braces=True, previous="s-1")))
    value = by_jsonata(made, variables)
    assert value == by_braces(compile_condition(expression, previous="s-1"), variables)
    assert isinstance(value, bool) or value == FAILED


def nulls_in_lists(value):
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return any(nulls_in_lists(one) or (one is None and isinstance(value, list)) for one in inner)


@settings(max_examples=100, deadline=None)
@given(EXPRESSIONS, VARIABLES)
def test_another_evaluator_agrees(expression, variables):
    """What is written is JSONata, not what our own evaluation makes of it."""
    assume(not nulls_in_lists(variables))  # to the other evaluator an item that is null is none
    text = f"{{{{{expression}}}}}"
    compiled = jsonata.Jsonata(template(NAMES, text, "s-1").removeprefix("{%").removesuffix("%}"))
    frame = compiled.create_frame()
    for name, value in {"variables": variables, "nodes": NODES, "input": GIVEN}.items():
        frame.bind(name, value)
    try:
        value = compiled.evaluate(None, frame)
    except jsonata.JException:
        value = FAILED
    assert value == by_braces(compile_braces(text, previous="s-1"), variables)


@pytest.mark.parametrize("value", ["a", "{% a", "%}", 1, True, None, [1], {"b": "é\u0007"}])
def test_texts_are_the_same(value):
    """Values within longer texts."""
    text = {"k": ["{% {{x}} and {{gone}} */", "{% nothing", 3]}
    variables = {"sure": 5, "x": value}
    made = template(NAMES, text)["k"]
    expected = by_braces(compile_braces(text), variables)["k"]
    assert [by_jsonata(made[0], variables), by_jsonata(made[1], variables), made[2]] == expected


def test_an_index_that_is_an_expression_cannot_be_said():
    """It is refused, not guessed."""
    with pytest.raises(Untranslatable):
        template(NAMES, "{{x[y]}}")


@pytest.mark.parametrize("value", [[], [1], [[1]], [[]], 1, None, {"a": [1]}])
def test_lists_keep_their_items(value):
    """A list within a list stays one."""
    variables = {"sure": 5, "x": value}
    written = {"k": ["{{x}}", [1], [], "{{x}}", ["{{x}}"], {"m": "{{x}}"}]}
    assert by_jsonata(expression(NAMES, written), variables) == by_braces(compile_braces(written), variables)
