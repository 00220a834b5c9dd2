"""SQL lives in files, as named blocks with a comment; this reads them.

    -- name: head_by_id
    -- The head of one execution.
    SELECT ... ;

A block ends where the next begins.
"""

from __future__ import annotations

import re
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
COMMENT = re.compile(r"^--.*\n?", re.MULTILINE)


def load_text(package: str, name: str) -> str:
    """The text of a file that ships with `package`."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def load_queries(package: str, name: str = "queries.sql") -> Mapping[str, str]:
    """Every block of the file by its name, without comments; raises ValueError for a name used twice, a block without comment or empty."""
    _, *blocks = NAME.split(load_text(package, name))
    queries: dict[str, str] = {}
    for query, block in zip(blocks[::2], blocks[1::2], strict=True):
        text = COMMENT.sub("", block).strip()
        if query in queries or not block.startswith("\n-- ") or not text:
            raise ValueError(f"{package}/{name}: the block {query} is there twice, has no comment or is empty")
        queries[query] = text.rstrip(";")
    return MappingProxyType(queries)
