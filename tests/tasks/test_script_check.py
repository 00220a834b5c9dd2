from __future__ import annotations

import threading
import time

import pytest

from flowrunner.tasks.javascript.check import MOST_SOURCE_BYTES, check
from flowrunner.tasks.javascript.places import SyntaxProblem


@pytest.mark.parametrize(
    "source",
    [
        "", "// nothing", "return 1", "input.x;", "{ a: 1 }", "({ a }) => a", "async () => { await 1 }", "const a = await b; return a", "function f() {}",
        "let input = 1", "return `${a}`", "for (const a of b) { if (a) return a }", "class A {}", "throw new Error('no')", "secrets.A; console.log(1)",
    ],
)  # fmt: skip
def test_what_runs_compiles(source):
    assert check(source) is None


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("foo(", SyntaxProblem("the script ends too early: something is not closed", 1, 5)),
        ("if (a) {\n  b();", SyntaxProblem("the script ends too early: something is not closed", 2, 7)),
        ("const a = 1;\nconst a = 2;", SyntaxProblem("invalid redefinition of lexical identifier", 2, 9)),
        ("let b = {c: 1,;", SyntaxProblem("invalid property name", 1, 15)),
        ("const t = 'abc;\nreturn t", SyntaxProblem("a string or template is not closed", 1, 11)),
        ("return 1 +* 2", SyntaxProblem("unexpected token in expression: '*'", 1, 11)),
    ],
)
def test_problems_have_line_and_column(source, problem):
    """In the author's source, counted from 1."""
    assert check(source) == problem


def test_nothing_is_run():
    """Not even what breaks out of the function, for long."""
    began = time.monotonic()
    assert check("for (;;);") is None
    check("}; for (;;); () => { function a() {")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("source", ["(" * 100_000, "[" * 100_000, "a => " * 50_000, "`${" * 50_000, "x" * (MOST_SOURCE_BYTES + 1), "\0", "\ud800"])
def test_broken_sources_are_problems(source):
    """However deep or long, there is an answer."""
    assert isinstance(check(source), SyntaxProblem)


def test_any_thread_may_check():
    """Compilers run beside the event loop, too."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(check("return (1"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [problem is not None and problem.line for problem in found] == [1, 1, 1, 1]
