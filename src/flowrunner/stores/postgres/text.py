r"""Texts as PostgreSQL takes them: it refuses U+0000, which names, inputs and outputs may hold.

NUL is stored as \x01\x01 and \x01 as \x01\x02, so equal texts stay equal and sorted texts stay sorted. JSON writes both as
\u escapes, so hardly any text has one of them and reading costs one look.
"""

from __future__ import annotations

import re
from typing import overload

ESCAPED = re.compile("\1([\1\2])")


@overload
def stored(text: str) -> str: ...
@overload
def stored(text: None) -> None: ...
def stored(text: str | None) -> str | None:
    """The text as it is put into the database."""
    if text is None or ("\0" not in text and "\1" not in text):
        return text
    return text.replace("\1", "\1\2").replace("\0", "\1\1")


@overload
def given(text: str) -> str: ...
@overload
def given(text: None) -> None: ...
def given(text: str | None) -> str | None:
    """The text as it was before `stored`."""
    if text is None or "\1" not in text:
        return text
    return ESCAPED.sub(lambda found: "\0" if found[1] == "\1" else "\1", text)
