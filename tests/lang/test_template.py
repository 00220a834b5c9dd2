"""Payload templates."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lang_cases import cases, typed

from flowrunner.errors import ExpressionError, ExpressionSyntaxError, PathNotFound
from flowrunner.lang.environment import Environment
from flowrunner.lang.intrinsics import Intrinsic
from flowrunner.lang.jsonpath import Path
from flowrunner.lang.template import TemplateFieldNotFound, TemplateSyntaxError, compile_template, compile_value


@pytest.mark.parametrize(("environment", "case"), cases("template/templates"))
def test_template(environment, case):
    """A template is filled, or says which field failed; it is not changed by that."""
    source = copy.deepcopy(case["expression"])
    if "refused" in case:
        with pytest.raises(TemplateSyntaxError) as refused:
            compile_template(source, pointer="/States/S/Parameters")
        assert refused.value.message == case["refused"]
        assert refused.value.message.endswith(f" at {refused.value.pointer}")
        return
    template = compile_template(source)
    assert template.constant == case.get("constant", False)
    assert template.variables == set(case.get("variables", ()))
    if "missing" in case:
        with pytest.raises(PathNotFound) as missing:
            template.evaluate(environment)
        assert missing.value.message == str(missing.value) == case["missing"]
    else:
        assert typed(template.evaluate(environment)) == typed(case["expect"])
    assert source == case["expression"]


def test_missing_field():
    """The error of a missing path has the field, the path and where the field is."""
    template = compile_template({"in": {"value.$": "$.no.such"}}, pointer="/States/A/Parameters")
    with pytest.raises(TemplateFieldNotFound) as raised:
        template.evaluate(Environment(document={}))
    error = raised.value
    assert (error.field, error.path, error.reason, error.pointer) == ("value.$", "$.no.such", "Missing property in path $['no']", "/States/A/Parameters/in")


def test_constant_parts_are_shared():
    """Parts without dynamic members are never copied."""
    source = {"constant": {"a": [1]}, "dynamic": {"b.$": "$.b", "kept": [2]}}
    filled = compile_template(source).evaluate(Environment(document={"b": 1}))
    assert filled["constant"] is source["constant"]
    assert filled["dynamic"]["kept"] is source["dynamic"]["kept"]
    constant = compile_template(source["constant"])
    assert constant.evaluate(Environment()) is source["constant"]


def test_order_is_kept():
    """Members come out in the order they were written."""
    filled = compile_template({"z.$": "$.a", "b": 1, "a.$": "$.a"}).evaluate(Environment(document={"a": 0}))
    assert list(filled) == ["z", "b", "a"]


def test_compile_value():
    """A value is a path or a call, nothing else."""
    assert isinstance(compile_value("$.a"), Path)
    assert isinstance(compile_value("States.UUID()"), Intrinsic)
    for text in ("", "a", " $.a", "States", "{% 1 %}"):
        with pytest.raises(ExpressionSyntaxError):
            compile_value(text)


def test_too_deep():
    """Nesting is bounded."""
    source = {"a.$": "$"}
    for _ in range(200):
        source = [source]
    with pytest.raises(ExpressionError):
        compile_template(source)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text().filter(lambda key: not key.endswith(".$")), inner, max_size=4),
    )
)
def test_without_dynamic_members_a_template_is_itself(value):
    """JSON without ``.$`` members is a constant."""
    assert compile_template(value).evaluate(Environment()) is value
    assert json.dumps(compile_template({"x.$": "$", "y": value}).evaluate(Environment(document=value))) == json.dumps({"x": value, "y": value})
