"""The ``{{ }}`` language: values, texts, conditions, functions, budgets and what does not compile."""

import pytest

from flowrunner.entropy import Entropy
from flowrunner.errors import BudgetExceeded, ExpressionError, ExpressionSyntaxError
from flowrunner.lang.braces import compile_braces, compile_condition
from flowrunner.lang.environment import Environment, Meter

VARIABLES = {
    "apiUrl": "http://x", "userId": 7, "zero": 0, "no": False, "nothing": None, "empty": "", "list": [1, {"a": "b"}], "o": {"k-1": {"x": [10, 20]}},
    "evil": "{{userId}}", "page": 3, "text": "10", "loopIndex": 4, "nodes.s1": {"output": {"response": {"body": {"id": 9}}}, "status": "success"},
    "float": 1.5, "quoted": 'say "hi"',
}  # fmt: skip


def environment(**more):
    return Environment(variables=VARIABLES, states={"input": {}}, now=1_700_000_000_000, entropy=Entropy(bytes(16)), **more)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"), (5, 5), (None, None), (True, True),
        ("{{userId}}", 7), ("{{ userId }}", 7), ("{{no}}", False), ("{{nothing}}", None), ("{{list}}", [1, {"a": "b"}]),
        ("{{list[1].a}}", "b"), ("{{list[-1].a}}", "b"), ("{{list.0}}", 1), ("{{list.length}}", 2), ("{{o.k-1.x[1]}}", 20), ('{{o["k-1"].x[0]}}', 10),
        ("user {{userId}} at {{apiUrl}}", "user 7 at http://x"), ("is {{o}}", 'is {"k-1":{"x":[10,20]}}'), ("{{userId}}{{page}}", "73"),
        ("{{unknown}}", "{{unknown}}"), ("a {{un.known}} b", "a {{un.known}} b"), ("{{list[9]}}", "{{list[9]}}"), ("{{o.nope}}", "{{o.nope}}"),
        ("{{evil}}", "{{userId}}"), ("got {{evil}}", "got {{userId}}"),
        ("{{nodes.s1.output.response.body.id}}", 9), ("{{s1.response.body.id}}", 9), ("{{nodes.s1.status}}", "success"), ("{{nodes.s2.output}}", "{{nodes.s2.output}}"),
        ("{{$loopIndex}}", 4), ("{{loopIndex}}", 4),
        ("{{1 + 2 * 3}}", 7), ("{{(1 + 2) * 3}}", 9), ("{{page - 1}}", 2), ("{{-page}}", -3), ("{{10 / 4}}", 2.5), ("{{10 / 5}}", 2), ("{{7 % 4}}", 3), ("{{float * 2}}", 3),
        ("{{'a' + userId}}", "a7"), ("{{'}}' + '{{'}}", "}}{{"), ('{{"{{"}}', "{{"), ("use {{'{{'}}name}}", "use {{name}}"), ('{{"a\\n\\u0041"}}', "a\nA"), ("{{userId == '7'}}", True), ("{{userId === '7'}}", False), ("{{1 == true}}", True),
        ("{{1 === true}}", False), ("{{text > 9}}", True), ("{{'1e999' > 1}}", False), ("{{'1_0' == 10}}", False), ("{{' 1.50 ' == 1.5}}", True), ("{{99999999999999999999}}", 1e20), ("{{'b' > 'a'}}", True), ("{{nothing == null}}", True), ("{{unknown == null}}", True),
        ("{{unknown || 'default'}}", "default"), ("{{zero || 5}}", 5), ("{{userId && 'yes'}}", "yes"), ("{{!empty}}", True), ("{{!!list}}", True),
        ("{{$isEmpty(empty)}}", True), ("{{$isEmpty(list)}}", False), ("{{$isNotEmpty(unknown)}}", False), ("{{$length(list)}}", 2), ("{{$now}}", "2023-11-14T22:13:20Z"),
        ("{{$timestamp}}", 1_700_000_000_000), ("{{$now()}}", "2023-11-14T22:13:20Z"),
        ({"a": ["{{userId}}", {"b": "{{page}}"}]}, {"a": [7, {"b": 3}]}),
        ("{{resolve:secretsmanager:K:SecretString:f}}", "{{resolve:secretsmanager:K:SecretString:f}}"), ("x {{resolve:secretsmanager:K}} {{userId}}", "x {{resolve:secretsmanager:K}} 7"),
    ],
)  # fmt: skip
def test_values(value, expected):
    """One expression keeps its type, several are put in as text; what leads nowhere stays; values are never read as expressions."""
    found = compile_braces(value).evaluate(environment())
    if isinstance(expected, str) and expected.startswith("2023-"):
        found = found.replace(".000", "")
    assert (found, type(found)) == (expected, type(expected)) or (found == expected and isinstance(expected, (dict, list)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{page}} <= 3", True), ("{{page}} < 3", False), ("{{page <= 3}}", True), ("{{unknown}}", False), ("!{{unknown}}", True), ("{{evil}} == '{{userId}}'", True),
        ("{{userId}} == 7 && {{page}} != 4", True), ("{{no}} || {{empty}}", False), ("true", True), ("'false'", False), (True, True), (False, False),
        ("{{s1.response.body.id}} === 9", True), ("$isEmpty({{empty}})", True), ("({{page}} > 5 || {{page}} == 3) && !{{no}}", True), ("{{unknown.deep}} > 1", False),
        ("{{text}} >= 10", True),
    ],
)  # fmt: skip
def test_conditions(text, expected):
    """Braces stand like parentheses around parts; what leads nowhere is null."""
    assert compile_condition(text).evaluate(environment()) is expected


def test_what_the_step_before_gave():
    """``$prev`` is the output of the step that the compiler names; without one it leads nowhere."""
    assert compile_braces("{{$prev.response.body.id + 1}}", previous="s1").evaluate(environment()) == 10
    assert compile_condition("{{$prev.response}}", previous="s1").evaluate(environment()) is True
    for previous in (None, "s2"):
        assert compile_braces("{{$prev.x}}", previous=previous).evaluate(environment()) == "{{$prev.x}}"


def test_uuids_are_drawn():
    """From the execution's own randomness: replay draws the same."""
    [one, other] = compile_braces(["{{$uuid}}", "{{$uuid()}}"]).evaluate(environment())
    assert one != other
    assert compile_braces("{{$uuid}}").evaluate(environment()) == one


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{", "not closed"), ("a {{b", "not closed"), ("{{}}", "Column 1"), ("{{a b}}", "'b' is not expected"), ("{{a ==}}", "ends too early"), ("{{(a}}", "')' is missing"),
        ("{{a[1}}", "']' is missing"), ("{{$nope(1)}}", "no function $nope"), ("{{$isEmpty()}}", "takes 1 value"), ("{{a @ b}}", "'@' is not understood"), ("{{1e999}}", "beyond all numbers"), ("{{" + "9" * 500 + "}}", "beyond all numbers"), ("{{a.}}", "ends too early"),
        ("{{" + "(" * 100 + "a" + ")" * 100 + "}}", "64 levels"), ("{{" + "!" * 100 + "a}}", "too many signs"), ("{{a" + ".b" * 100 + "}}", "64 steps"), ("{{" + "a" * 20_000 + "}}", "10000 characters"),
    ],
)  # fmt: skip
def test_what_does_not_compile(text, said):
    """The error says where, and what was expected."""
    with pytest.raises(ExpressionSyntaxError, match="(?s)" + said.replace("$", r"\$").replace("(", r"\(").replace(")", r"\)").replace("]", r"\]")):
        compile_braces(text)


@pytest.mark.parametrize("text", ["{{list - 1}}", "{{1 / 0}}", "{{'a' * 2}}", "{{$length(userId)}}"])
def test_what_has_no_value(text):
    """Arithmetic on what is no number is an error, not a guess."""
    with pytest.raises(ExpressionError):
        compile_braces(text).evaluate(environment())


def test_large_numbers():
    """Beyond all floats is an error; large whole numbers become floats."""
    assert compile_braces("{{9007199254740993 * 1024 * 1024}}").evaluate(environment()) == 9007199254740993.0 * 1024 * 1024
    with pytest.raises(ExpressionError, match="beyond"):
        compile_braces("{{1e308 * 10}}").evaluate(environment())


def test_the_budget():
    """Expressions pay for their steps and for the texts they make."""
    meter = Meter()
    meter.left = 1000
    doubled = compile_braces({"a": ["{{list}}"] * 2000})
    with pytest.raises(BudgetExceeded):
        doubled.evaluate(environment(meter=meter))
    big = Environment(variables={"t": "x" * 1_000_000}, meter=Meter())
    with pytest.raises(BudgetExceeded):
        compile_braces("{{t}} " * 100).evaluate(big)
