"""Whether a script compiles. Nothing of it is run: the engine reads it whole, and what is run first throws.

`check` does it in this process, for command lines, which read their user's own files. A server asks ``checker``, as reading hostile
code may take long. A compiler is handed neither, as it imports nothing of this floor: it only collects scripts.
"""

from __future__ import annotations

import re

from _quickjs import Context, JSException, StackOverflow

from flowrunner.lang.embedded import without_end
from flowrunner.limits import MIB
from flowrunner.tasks.javascript.places import SyntaxProblem, syntax_problem
from flowrunner.tasks.javascript.worker import READ_FIRST, refusal

MOST_SOURCE_BYTES = 1 * MIB
MEMORY_BYTES = 64 * MIB
_NAME = re.compile(r"^\w+: ")
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_AWAIT = re.compile(r"\bawait\b")


def check(source: str) -> SyntaxProblem | None:
    """Why the source is neither a function body nor an expression; None when it is one of them."""
    found = unreadable(source)
    if found is not None:
        return found
    words = []
    for code in ways(source):
        context = Context()
        context.set_memory_limit(MEMORY_BYTES)
        said = refusal(context, code, (JSException, StackOverflow))
        if said is None:
            return None
        words.append(said)
    return problem_of(source, words)


def unreadable(source: str) -> SyntaxProblem | None:
    """What the engine need not be asked about."""
    if len(source) > MOST_SOURCE_BYTES:
        return SyntaxProblem(f"a script has at most {MOST_SOURCE_BYTES} characters", 1, 1)
    if (found := _UNREADABLE.search(source)) is not None:
        line_start = source.rfind("\n", 0, found.start())
        return SyntaxProblem("a character that no script can have", source.count("\n", 0, found.start()) + 1, found.start() - line_start)
    return None


def ways(source: str) -> tuple[str, str]:
    """The source as an expression and as a body, each to be read and not to be run; it begins in line 2."""
    head = f"{READ_FIRST}()=>{'async ' if waits(source) else ''}function(){{"
    return f"{head}return(\n{without_end(source)}\n)}}", f"{head}\n{source}\n}}"


def problem_of(source: str, words: list[str]) -> SyntaxProblem:
    """The problem that the engine's words tell of; `words` are those about each of the two ways."""
    parts = [said.partition("\n") for said in words]
    return syntax_problem(source, [_NAME.sub("", message) for message, _, _ in parts], [stack for _, _, stack in parts])


def waits(source: str) -> bool:
    """Whether the source is to be an async function: it says ``await`` somewhere."""
    return "await" in source and _AWAIT.search(source) is not None
