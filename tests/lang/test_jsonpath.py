"""JSONPath: what paths give, refuse, write and cost."""

import copy
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lang_cases import cases, typed

from flowrunner.errors import BudgetExceeded, ExpressionError, ExpressionSyntaxError, PathNotFound
from flowrunner.lang.environment import Environment
from flowrunner.lang.jsonpath import compile_path, is_reference
from flowrunner.lang.reference import PathNotWritable

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
documents = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=20)


def check(environment, case):
    path = compile_path(case["expression"])
    if "error" in case:
        with pytest.raises(PathNotFound) as raised:
            path.evaluate(environment)
        assert (raised.value.path, raised.value.reason) == (case["expression"], case["error"])
    else:
        value = path.evaluate(environment)
        assert value == case["expect"]
        if not case["expression"].endswith(")"):
            assert typed(value) == typed(case["expect"])
    return path


@pytest.mark.parametrize(("environment", "case"), cases("jsonpath/reference"))
def test_reference(environment, case):
    """A reference path names one value or says, as the service does, what is missing."""
    path = check(environment, case)
    assert path.definite
    assert path.steps or case["expression"] in {"$", "$limit", "$unknown"}
    assert is_reference(case["expression"])


@pytest.mark.parametrize(("environment", "case"), cases("jsonpath/queries"))
def test_query(environment, case):
    """A query gives a list, or one value if it ends in a function or names members."""
    path = check(environment, case)
    assert not path.definite
    assert path.steps == ()
    assert not is_reference(case["expression"])


@pytest.mark.parametrize(("environment", "case"), cases("jsonpath/refused"))
def test_refused(environment, case):
    """What is no path, or could take too long, does not compile."""
    with pytest.raises(ExpressionSyntaxError):
        compile_path(case["expression"])
    assert not is_reference(case["expression"])


@pytest.mark.parametrize(("environment", "case"), cases("jsonpath/write"))
def test_write(environment, case):
    """Writing gives a new document; the old one is untouched whether it worked or not."""
    before = copy.deepcopy(case["given"])
    path = compile_path(case["expression"])
    if "error" in case:
        with pytest.raises(PathNotWritable) as raised:
            path.write(case["given"], "new")
        assert raised.value.message == case["error"]
    else:
        assert path.write(case["given"], "new") == case["expect"]
    assert case["given"] == before


def test_write_shares_the_rest():
    """Parts off the path are the same objects afterwards."""
    document = {"big": {"a": [1]}, "path": {"other": [2], "x": 1}}
    written = compile_path("$.path.x").write(document, 5)
    assert written["big"] is document["big"]
    assert written["path"]["other"] is document["path"]["other"]


@pytest.mark.parametrize("text", ["$$.a", "$name", "$.a[*]", "$..a", "$.a.length()"])
def test_write_needs_a_place_in_the_document(text):
    """Only reference paths into the document can be written to."""
    with pytest.raises(ExpressionError):
        compile_path(text).write({}, 1)


def test_root_and_variables():
    """A path tells what it starts from."""
    assert [compile_path(text).root for text in ("$", "$.a", "$$", "$$.a", "$name", "$name[*]")] == ["$", "$", "$$", "$$", "name", "name"]
    assert compile_path("$name.x").variables == {"name"}
    assert compile_path("$..x").variables == frozenset()
    assert compile_path("$.a[0]['b.c'][-1]").steps == ("a", 0, "b.c", -1)


@given(documents, st.lists(st.text(max_size=5), max_size=4), scalars)
def test_what_is_written_is_read(document, names, value):
    """A written value is found at its path, and the path of an unreachable place is refused, never anything else."""
    path = compile_path("$" + "".join("['" + name.replace("\\", "").replace("'", "\\'") + "']" for name in names))
    try:
        written = path.write(document, value)
    except PathNotWritable:
        return
    assert path.evaluate(Environment(document=written)) == value


@given(st.text(max_size=60) | st.text(alphabet="$.@[]()*?:,'\"\\ ab01=<>&|!-", max_size=60).map(lambda text: "$" + text), documents)
def test_any_text(text, document):
    """Any text compiles or is refused, any path evaluates or fails, with the errors that are promised."""
    with suppress(ExpressionError):
        compile_path(text).evaluate(Environment(document=document, context=document))


@pytest.mark.parametrize(
    "text",
    ["$" + "[" * 4000, "$['" + "\\" * 4000, "$[?(" + "(" * 3000, "$[?(@.a == " + "1" * 3000 + ")]", "$[" + " " * 4000, "$" + ".a" * 5000, "$" + "[0]" * 1000],
)
def test_hostile_patterns(text):
    """Patterns made to be slow are refused quickly (the suite would time out, not this test)."""
    with pytest.raises(ExpressionSyntaxError):
        compile_path(text)


def test_budget():
    """A query that would visit more than its budget stops."""
    document = [0]
    for _ in range(100):
        document = [document, 1]
    with pytest.raises(BudgetExceeded):
        compile_path("$" + "..*" * 20).evaluate(Environment(document=document))
