"""Templates: JSON values with ``{% expression %}`` strings."""

from __future__ import annotations

import pytest

from flowrunner.lang.environment import Environment
from flowrunner.lang.jsonata.template import TemplateFailure, TemplateSyntaxError, compile_jsonata_template


def environment(**states):
    return Environment(states={"input": {"a": 1}, **states}, variables={"v": 2})


def test_values_and_constants():
    """Expressions are replaced at any depth; everything else stays."""
    template = compile_jsonata_template({"x": "{% $states.input.a %}", "list": [0, "{%$v%}", {"c": " {% 1 %} "}], "k": None, "{% 1 %}": "$v"})
    assert template.evaluate(environment()) == {"x": 1, "list": [0, 2, {"c": " {% 1 %} "}], "k": None, "{% 1 %}": "$v"}
    assert template.variables == {"v"}
    assert not template.constant


def test_a_whole_value():
    """A template may be one expression."""
    assert compile_jsonata_template("{% $v + 1 %}").evaluate(environment()) == 3


def test_constants_are_shared():
    """What has no expression in it is not built again."""
    value = {"a": [1, {"b": "c"}], "d": "{% 1 %}"}
    template = compile_jsonata_template(value)
    assert template.evaluate(environment())["a"] is value["a"]
    constant = compile_jsonata_template([1, "x"])
    assert constant.constant
    assert constant.evaluate(environment()) is constant.source


@pytest.mark.parametrize("text", ["{% 1", "1 %}", "{%}", "x{% 1 %}", "{% 1 %} "])
def test_not_expressions(text):
    """Only a string that begins and ends with the marks is an expression."""
    assert compile_jsonata_template(text).evaluate(environment()) == text


@pytest.mark.parametrize(
    ("value", "location", "kind", "detail"),
    [
        ({"Output": {"result": "{% $doesNotExist %}"}}, "Output/result", "undefined", ""),
        ({"Output": {"list": [1, "{% $doesNotExist %}"]}}, "Output/list[1]", "undefined", ""),
        ({"Output": {"list": [{"x": "{% $doesNotExist %}"}]}}, "Output/list[0]/x", "undefined", ""),
        ("{%  $f()  %}", "", "error", "T1006: Attempted to invoke a non-function"),
        ({"Items": "{% $f := function($x){$x} %}"}, "Items", "unsupported", ""),
    ],
)
def test_failures(value, location, kind, detail):
    """A failure tells the expression, the place in the template and the reason."""
    with pytest.raises(TemplateFailure) as caught:
        compile_jsonata_template(value).evaluate(environment())
    failure = caught.value
    assert (failure.location, failure.kind, failure.detail) == (location, kind, detail)
    assert failure.expression in {"$doesNotExist", "$f()", "$f := function($x){$x}"}


def test_syntax_errors_have_a_place():
    """An expression that does not compile is found when the template is compiled."""
    with pytest.raises(TemplateSyntaxError) as caught:
        compile_jsonata_template({"a": [{"b": "{% 1 + %}"}]})
    assert caught.value.location == "a[0]/b"
    assert caught.value.message.startswith("S0207: ")
