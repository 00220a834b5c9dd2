"""Intrinsic functions: results, refusals, limits, randomness."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lang_cases import cases, typed

from flowrunner.entropy import Entropy
from flowrunner.errors import ExpressionError, ExpressionSyntaxError, IntrinsicError, PathNotFound
from flowrunner.lang.environment import Environment
from flowrunner.lang.intrinsics import FUNCTIONS, compile_intrinsic


def evaluate(text, **environment):
    return compile_intrinsic(text).evaluate(Environment(**environment))


@pytest.mark.parametrize(("environment", "case"), cases("intrinsics/calls"))
def test_call(environment, case):
    """A call gives its value, or a message that names the whole call."""
    intrinsic = compile_intrinsic(case["expression"])
    if "error" in case:
        with pytest.raises(IntrinsicError) as raised:
            intrinsic.evaluate(environment)
        assert raised.value.message.startswith(f"The function '{case['expression']}' had the following error: {case['error']}")
    else:
        assert typed(intrinsic.evaluate(environment)) == typed(case["expect"])


@pytest.mark.parametrize(("environment", "case"), cases("intrinsics/refused"))
def test_refused(environment, case):
    """What is no call does not compile."""
    with pytest.raises(ExpressionSyntaxError):
        compile_intrinsic(case["expression"])


def test_all_functions_are_covered():
    """There are 18 functions, and each has a case."""
    assert len(FUNCTIONS) == 18
    used = " ".join(parameter.values[1]["expression"] for parameter in cases("intrinsics/calls")) + " States.UUID("
    assert all(f"{name}(" in used for name in FUNCTIONS)


def test_randomness_comes_from_the_environment():
    """The same seed gives the same UUIDs and numbers; a stream goes on; a seed argument overrides it."""
    first, again = Entropy(b"0" * 16), Entropy(b"0" * 16)
    uuid = evaluate("States.UUID()", entropy=first)
    assert uuid == evaluate("States.UUID()", entropy=again)
    assert uuid[14] == "4"
    assert uuid != evaluate("States.UUID()", entropy=first)
    seeded = {evaluate("States.MathRandom(0, 1000000, 7)", entropy=Entropy(bytes([n]) * 16)) for n in range(5)}
    assert len(seeded) == 1


@given(st.integers(-1000, 1000), st.integers(1, 1000), st.binary(min_size=16, max_size=16))
def test_random_range(start, size, seed):
    """A random number is at least the start and less than the end."""
    assert start <= evaluate(f"States.MathRandom({start}, {start + size})", entropy=Entropy(seed)) < start + size


def test_limits():
    """Data of 10,000 characters passes, more is refused; ten calls nest, eleven do not; arguments are bounded."""
    assert len(evaluate("States.Base64Encode($)", document="a" * 10_000)) == 13_336
    for text in ("States.Base64Encode($)", "States.Base64Decode($)", "States.Hash($, 'MD5')"):
        with pytest.raises(IntrinsicError, match="10000 characters"):
            evaluate(text, document="a" * 10_001)
    assert evaluate("States.Array(" * 10 + ")" * 10) == [[[[[[[[[[]]]]]]]]]]
    with pytest.raises(ExpressionSyntaxError, match="deeper"):
        compile_intrinsic("States.Array(" * 11 + ")" * 11)
    with pytest.raises(ExpressionSyntaxError, match="arguments"):
        compile_intrinsic("States.Array(" + "1," * 300 + "1)")


def test_missing_argument_names_the_call():
    """A path that names nothing is a missing path, not a failure of the function."""
    with pytest.raises(PathNotFound) as raised:
        evaluate("States.Format('{}', States.Format('{}', $.nope))", document={"other": 1})
    assert raised.value.message == (
        "The function 'States.Format('{}', States.Format('{}', $.nope))' had the following error: "
        "The JsonPath argument for the field '$.nope' could not be found in the input '{\"other\":1}'"
    )


def test_variables():
    """A call knows the variables it reads."""
    assert compile_intrinsic("States.Array($a, States.Array($b.c, $.d, $$.e), $a[0])").variables == {"a", "b"}


@given(st.text(alphabet="States.Array()Format'{}\\,$ab10 nul-\"[]", max_size=60).map(lambda text: "States.Array(" + text))
def test_any_text(text):
    """Any text compiles or is refused, and any call evaluates or fails with the errors that are promised."""
    with suppress(ExpressionError):
        evaluate(text, document={"a": 1}, variables={"b": [1]})


@given(st.text())
def test_string_arguments(text):
    """Any string passes through a literal once its four special characters are escaped."""
    escaped = "".join("\\" + character if character in "'{}\\" else character for character in text)
    assert evaluate(f"States.Array('{escaped}')") == [text]
    assert evaluate(f"States.Format('{escaped}')") == text
