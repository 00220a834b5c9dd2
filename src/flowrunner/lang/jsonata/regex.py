"""Regular expressions that cannot hang: RE2 (linear time) first, Python's `re` under tight limits for what RE2 lacks.

RE2 has no look-around and no back-references. Patterns that need them go to `re`, which backtracks: then repeated groups
with repeats inside are refused, at most two open-ended repeats are allowed and the text is limited.

Each search takes its worst case off the budget before it is made, so that steps alone bound the time: for RE2 the text times the
size of the program (its slowest engine keeps that many threads), for `re` the ways to divide the text among the repeats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import re2  # type: ignore[import-untyped]

from flowrunner.errors import BudgetExceeded
from flowrunner.lang.jsonata.messages import failure
from flowrunner.lang.jsonata.values import Function, Run

MAX_BACKTRACKING_TEXT_CHARS = 512
MAX_BACKTRACKING_REPEATS = 2
MAX_PATTERN_CHARS = 4_096
RE2_MEMORY_BYTES = 8 * 1024 * 1024
_THREADS_PER_STEP = 200  # of RE2's, over one character each: 10 to 15 ns
_TRIES_PER_STEP = 64  # of `re`: 10 to 20 ns
_STEPS_PER_MATCH = 4  # what RE2's wrapper needs to tell of a match

_NEEDS_BACKTRACKING = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]|\\k<")
_SURROGATES = re.compile("[\ud800-\udfff]")
_REPEAT = re.compile(r"(?<!\\)(?:[*+]|\{\d+,\})")
_NESTED_REPEAT = re.compile(r"[*+}|][^()]*\)+(?:[*+]|\{)")
_LITERAL = re.compile(r"\\.|\[(?:\\.|[^\]\\])+\]", re.DOTALL)  # escapes and character classes
_CHOICE = re.compile(r"\||(?<!\()\?")
_SPAN = re.compile(r"\{(\d+),(\d+)\}")
# Where a match may be found and yet a longer one be looked for to the end of the text, again for each match.
_LOOKS_FURTHER = re.compile(r"\||\)[*+?{]")


class Regex(Function):
    """A compiled pattern; called with a text it gives the first match, whose ``next`` gives the following one."""

    __slots__ = ("_backtracks", "_factor", "_looks_further", "_pattern", "_repeats")

    def __init__(self, pattern: str, flags: str) -> None:
        super().__init__("regex", 1)
        if len(pattern) > MAX_PATTERN_CHARS:
            raise failure("S0303", message=f"longer than {MAX_PATTERN_CHARS} characters")
        self._backtracks = _NEEDS_BACKTRACKING.search(pattern) is not None
        self._pattern: Any = _backtracking(pattern, flags) if self._backtracks else _linear(pattern, flags)
        bare = _LITERAL.sub("x", pattern)
        self._repeats = len(_REPEAT.findall(bare))
        spans = [int(most) - int(least) + 1 for least, most in _SPAN.findall(bare)]
        self._looks_further = _LOOKS_FURTHER.search(bare) is not None and (self._repeats > 0 or bool(spans))
        self._factor: int
        if self._backtracks:
            self._factor = math.prod(spans) << min(len(_CHOICE.findall(bare)), 64)
        else:
            self._factor = max(self._pattern.programsize, 1)

    def _search_steps(self, characters: int) -> int:
        """What one search costs at most."""
        if self._backtracks:
            ways: int = characters ** (self._repeats + 1) // math.factorial(self._repeats + 1)
            return ways * self._factor // _TRIES_PER_STEP
        return characters * self._factor // _THREADS_PER_STEP

    def matches(self, text: str, run: Run) -> Iterator[Any]:
        """The matches in `text`, from left to right; raises BudgetExceeded before a search that could take too long."""
        if self._backtracks and len(text) > MAX_BACKTRACKING_TEXT_CHARS:
            raise BudgetExceeded(
                f"A regular expression with look-around or back-references was given a text of more than {MAX_BACKTRACKING_TEXT_CHARS} characters."
            )
        if not text.isascii():  # RE2 takes no halves of surrogate pairs; one character for one keeps the positions
            text = _SURROGATES.sub("\ufffd", text)
        run.text(len(text))
        run.spend(self._search_steps(len(text)))
        for match in self._pattern.finditer(text):
            run.spend(_STEPS_PER_MATCH + len(match.groups()))
            yield match
            if self._backtracks or self._looks_further:
                run.spend(self._search_steps(len(text) - match.end()))


def _linear(pattern: str, flags: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = RE2_MEMORY_BYTES
    options.case_sensitive = "i" not in flags
    try:
        return re2.compile(f"(?m){pattern}" if "m" in flags else pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else ""
        raise failure("S0303", message=text.decode(errors="replace") if isinstance(text, bytes) else str(text)) from None
    except UnicodeEncodeError:
        raise failure("S0303", message="not Unicode text") from None


def _backtracking(pattern: str, flags: str) -> Any:
    if _NESTED_REPEAT.search(pattern) or len(_REPEAT.findall(pattern)) > MAX_BACKTRACKING_REPEATS:
        raise failure("S0303", message="too many repeats beside look-around or back-references")
    python = re.sub(r"\(\?<([A-Za-z_]\w*)>", r"(?P<\1>", pattern)  # JavaScript's spelling of a named group
    try:
        return re.compile(python, (re.IGNORECASE if "i" in flags else 0) | (re.MULTILINE if "m" in flags else 0))
    except (re.error, RecursionError, OverflowError) as error:
        raise failure("S0303", message=str(error)) from None
