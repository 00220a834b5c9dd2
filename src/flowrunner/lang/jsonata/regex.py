"""Regular expressions that cannot hang: RE2 (linear time) first, Python's `re` under tight limits for what RE2 lacks.

RE2 has no look-around and no back-references. Patterns that need them go to `re`, which backtracks: then repeated groups
with repeats inside are refused, at most two open-ended repeats are allowed and the text is limited, which bounds the work
to about text^3 / 6 = 20 million steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import re2  # type: ignore[import-untyped]

from flowrunner.errors import BudgetExceeded
from flowrunner.lang.jsonata.messages import failure
from flowrunner.lang.jsonata.values import Function

MAX_BACKTRACKING_TEXT_CHARS = 512
MAX_BACKTRACKING_REPEATS = 2
MAX_PATTERN_CHARS = 4_096
RE2_MEMORY_BYTES = 8 * 1024 * 1024

_NEEDS_BACKTRACKING = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9]|\\k<")
_REPEAT = re.compile(r"(?<!\\)(?:[*+]|\{\d+,\})")
_NESTED_REPEAT = re.compile(r"[*+}|][^()]*\)+(?:[*+]|\{)")


class Regex(Function):
    """A compiled pattern; called with a text it gives the first match, whose ``next`` gives the following one."""

    __slots__ = ("_backtracks", "_pattern")

    def __init__(self, pattern: str, flags: str) -> None:
        super().__init__("regex", 1)
        if len(pattern) > MAX_PATTERN_CHARS:
            raise failure("S0303", message=f"longer than {MAX_PATTERN_CHARS} characters")
        self._backtracks = _NEEDS_BACKTRACKING.search(pattern) is not None
        self._pattern: Any = _backtracking(pattern, flags) if self._backtracks else _linear(pattern, flags)

    def matches(self, text: str) -> Iterator[Any]:
        """The matches in `text`, from left to right."""
        if self._backtracks and len(text) > MAX_BACKTRACKING_TEXT_CHARS:
            raise BudgetExceeded(
                f"A regular expression with look-around or back-references was given a text of more than {MAX_BACKTRACKING_TEXT_CHARS} characters."
            )
        if not text.isascii():  # RE2 takes no halves of surrogate pairs; one character for one keeps the positions
            text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
        matches: Iterator[Any] = self._pattern.finditer(text)
        return matches

    def found(self, text: str) -> bool:
        """Whether it matches anywhere."""
        return next(self.matches(text), None) is not None


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
