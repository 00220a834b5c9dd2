"""Whether the files of registered functions hold them, found out by reading: nothing of the users' runs for it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from flowrunner.tasks.functions import Function


class FileFault(NamedTuple):
    """Why calls of a function will fail as things are; `line` is 0 where no line is to blame."""

    function: str
    file: str
    line: int
    problem: str


def file_faults(functions: Iterable[Function]) -> Iterator[FileFault]:
    """What is wrong with the functions' files; each file is read once."""
    read: dict[Path, frozenset[str] | tuple[int, str]] = {}
    for function in functions:
        if function.file is None:
            continue
        file = function.file
        if file not in read:
            read[file] = _read(file)
        found = read[file]
        if isinstance(found, tuple):
            yield FileFault(function.name, str(file), *found)
        elif (name := function.handler.partition(".")[0]) not in found and not found & _OPEN:
            yield FileFault(function.name, str(file), 0, f"The file defines no {name} at its top level.")


_OPEN = frozenset({"*", "__getattr__"})  # with one of these a module may have any name


def _read(file: Path) -> frozenset[str] | tuple[int, str]:
    """The names that a file defines at its top level, or line and problem."""
    try:
        tree = ast.parse(file.read_bytes())
    except OSError as error:
        return 0, f"The file cannot be read: {error.strerror or error}."
    except SyntaxError as error:
        return error.lineno or 0, f"The file has a syntax error: {error.msg}."
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; more nesting than the parser takes
        return 0, f"The file cannot be compiled: {error}."
    return frozenset(_names(tree))


def _names(tree: ast.Module) -> Iterator[str]:
    """What is bound outside functions and classes, also within ``if``, ``try`` and ``with``."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
                continue
            case ast.Lambda():
                continue
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name.partition(".")[0]
        waiting.extend(ast.iter_child_nodes(node))
