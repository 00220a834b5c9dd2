"""Whatever the text is, the parser answers with diagnostics, and soon."""

import copy
import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowrunner.asl.parse import parse_definition, parse_state

FOLDER = Path(__file__).parents[1] / "cases" / "asl"
SEEDS = [case["definition"] for path in sorted(FOLDER.glob("*.json")) for case in json.loads(path.read_text()) if "definition" in case]
WORDS = ["$", "$.a", "$$", "States.Format('{}', $.a)", "{% $states.input %}", "{% ( %}", "States.ALL", "A", "", "\u0000", "Pass", "JSONata"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(WORDS) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=3), max_leaves=8
)


def _places(value, place=()):
    yield place
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _places(child, (*place, key))


@st.composite
def _mutated(draw):
    """A good definition with up to three parts replaced, removed or put in anew."""
    definition = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(_places(definition))))
        if not place:
            return draw(VALUES)
        holder = definition
        for key in place[:-1]:
            holder = holder[key]
        if draw(st.booleans()) or isinstance(holder, list):
            holder[place[-1]] = draw(VALUES)
        else:
            holder[draw(st.sampled_from(WORDS))] = holder.pop(place[-1])
    return definition


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_mutated(), st.sampled_from(["STANDARD", "EXPRESS"]))
def test_a_mutated_definition_never_raises(definition, kind):
    """A program or an error, never both, never an exception; every place has a line."""
    text = json.dumps(definition)
    parsed = parse_definition(text, kind=kind)
    assert (parsed.program is None) == any(each.severity == "ERROR" for each in parsed.diagnostics)
    assert all(each.line > 0 for each in parsed.diagnostics if each.pointer)
    parse_state(text, kind=kind)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="{}[]:,\"'&*!|>-? \n\tab1.#%@`~$\\\ud800", max_size=40), st.sampled_from(["json", "yaml"]))
def test_any_text_never_raises(text, syntax):
    """Text that is no document is a diagnostic."""
    assert parse_definition(text, syntax=syntax).program is None


def _chain(depth, inner):
    for level in range(depth):
        inner = {"Type": "Parallel", "Branches": [{"StartAt": f"S{level}", "States": {f"S{level}": inner}}], "End": True}
    return json.dumps({"StartAt": "T", "States": {"T": inner}})


def _rules(depth):
    rule = {"Variable": "$.a", "IsNull": True}
    for _ in range(depth):
        rule = {"Not": rule}
    return json.dumps({"StartAt": "T", "States": {"T": {"Type": "Choice", "Choices": [{**rule, "Next": "T"}]}}})


HUGE = {
    "brackets": "[" * 1_000_000,
    "braces": '{"a":' * 200_000,
    "too long": " " * 1_100_000,
    "many states": json.dumps({"StartAt": "0", "States": {str(n): {"Type": "Pass", "Next": str(n + 1)} for n in range(20_000)}}),
    "many errors": json.dumps({"StartAt": "0", "States": {str(n): 1 for n in range(60_000)}}),
    "unknown fields": json.dumps({str(n): 1 for n in range(80_000)}),
    "nested branches": _chain(40, {"Type": "Succeed"}),
    "nested rules": _rules(100),
    "long path": json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "InputPath": "$" + ".a" * 400_000, "End": True}}}),
    "long intrinsic": json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Parameters": {"a.$": "States.Array(" * 60_000}, "End": True}}}),
    "long expression": json.dumps(
        {"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Pass", "Output": "{%" + "(" * 60_000 + "%}", "End": True}}}
    ),
    "long digits": '{"StartAt": ' + "9" * 900_000 + "}",
    "long resource": json.dumps({"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::" + "a-" * 300_000 + "!", "End": True}}}),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_or_deep_definition_is_answered_in_bounded_time(name):
    """Less than five seconds on any machine; a tenth of that on ours."""
    begun = time.perf_counter()
    parsed = parse_definition(HUGE[name])
    assert time.perf_counter() - begun < 5
    assert parsed.program is None
    assert parsed.diagnostics
    assert len(parsed.diagnostics) <= 1000


def test_aliases_of_yaml_do_not_explode():
    """Nine levels of nine aliases are refused by counting, not by building."""
    lines = ['a0: &a0 ["x","x"]', *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))]
    (diagnostic,) = parse_definition("\n".join(lines), syntax="yaml").diagnostics
    assert "more than 100000 values" in diagnostic.message
