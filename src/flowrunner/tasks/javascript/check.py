"""Whether a script compiles: for compilers, at once and in this process. Nothing of the script is run.

A flow compiler is handed `check` by wiring, as it imports nothing of this floor.
"""

from __future__ import annotations

import re

from _quickjs import Context, JSException, StackOverflow

from flowrunner.lang.embedded import without_end
from flowrunner.limits import MIB
from flowrunner.tasks.javascript.places import SyntaxProblem, syntax_problem

MOST_SOURCE_BYTES = 1 * MIB
_MEMORY_BYTES = 64 * MIB
_SECONDS = 0.5
_NAME = re.compile(r"^\w+: ")
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_AWAIT = re.compile(r"\bawait\b")


def check(source: str) -> SyntaxProblem | None:
    """Why the source is neither a function body nor an expression; None when it is one of them."""
    if len(source) > MOST_SOURCE_BYTES:
        return SyntaxProblem(f"a script has at most {MOST_SOURCE_BYTES} characters", 1, 1)
    if (found := _UNREADABLE.search(source)) is not None:
        line_start = source.rfind("\n", 0, found.start())
        return SyntaxProblem("a character that no script can have", source.count("\n", 0, found.start()) + 1, found.start() - line_start)
    head = f"()=>{'async ' if waits(source) else ''}function(){{"
    messages: list[str] = []
    stacks: list[str] = []
    for code in (f"{head}return(\n{without_end(source)}\n)}}", f"{head}\n{source}\n}}"):
        context = Context()
        context.set_memory_limit(_MEMORY_BYTES)
        context.set_time_limit(_SECONDS)  # code that breaks out of its wrapper may run; it has nothing, and not for long
        try:
            context.eval(code)
        except (JSException, StackOverflow) as error:
            message, _, stack = str(error).partition("\n")
            messages.append(_NAME.sub("", message))
            stacks.append(stack)
        else:
            return None
    return syntax_problem(source, messages, stacks)


def waits(source: str) -> bool:
    """Whether the source is to be an async function: it says ``await`` somewhere."""
    return "await" in source and _AWAIT.search(source) is not None
