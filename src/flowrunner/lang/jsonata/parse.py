"""From text to JSONata's syntax tree, with the parser of jsonata-python.

Only its tokenizer and parser are used (and its date pictures, in `dates`): they follow the reference closely. What it
gets wrong is put right here: the operands shared by ``?:`` and ``??``, surrogate pairs, signatures, errors without a code.
"""

from __future__ import annotations

import sys
from typing import Any

from flowrunner.errors import JsonataError
from flowrunner.lang.jsonata.messages import MESSAGES, failure
from flowrunner.lang.jsonata.regex import Regex
from flowrunner.lang.jsonata.signature import Parameter, Signature

_LIMIT = sys.getrecursionlimit()
import jsonata as library  # noqa: E402  # sets the recursion limit of the whole process to 10,000 ...

sys.setrecursionlimit(_LIMIT)  # ... which is not its to set: our depth budget is built on the interpreter's own

__all__ = ["MAX_EXPRESSION_CHARS", "Node", "library", "parse", "signature_of", "well_formed"]

Node = Any  # a ``Parser.Symbol``; the library has no types

MAX_EXPRESSION_CHARS = 65_536  # AWS: a definition has 1 MB; the tokenizer's time grows with the square

_VALUE_NAMES = {  # what the library's first and second argument of an error are, where they are not `token` and `value`
    "S0202": ("value", "token"),
    "S0203": ("value", "token"),
    "S0208": ("value", "token"),
    "S0213": ("value", "token"),
}


class _Parser(library.Parser):  # type: ignore[misc]
    """The library's parser with ``a ?: b`` and ``a ?? b`` as operators of their own, so that `a` is evaluated once."""

    def process_ast(self, expr: Node) -> Node:
        if expr is not None and expr.type == "condition":
            kind = _shared_operand(expr)
            if kind is not None:
                made = library.Parser.Symbol(self)
                made.type = kind
                made.position = expr.position
                made.lhs = self.process_ast(expr.then)
                made.rhs = self.process_ast(expr._else)  # noqa: SLF001
                self.push_ancestry(made, made.lhs)
                self.push_ancestry(made, made.rhs)
                made.keep_array = expr.keep_array
                return made
        return super().process_ast(expr)


def _shared_operand(expr: Node) -> str | None:
    condition = expr.condition
    if condition is expr.then:
        return "default"
    if condition is not None and condition.type == "function" and condition.arguments and condition.arguments[0] is expr.then:
        return "coalesce"
    return None


def parse(text: str) -> Node:
    """The syntax tree of `text`; raises JsonataError with an S code."""
    if len(text) > MAX_EXPRESSION_CHARS:
        raise failure("S0600")
    try:
        return _Parser().parse(text, _regex)
    except library.JException as error:
        raise _syntax_error(error) from None
    except JsonataError:
        raise
    except RecursionError:
        raise failure("S0600") from None
    except RuntimeError as error:  # the library's Signature
        raise failure("S0402" if "Choice" in str(error) else "S0401") from None
    except KeyError as error:
        raise failure("S0204", token=str(error.args[0] if error.args else "")) from None
    except (IndexError, AttributeError, TypeError, ValueError, NotImplementedError):  # the library reads past the end, or finds no left side
        raise failure("S0207") from None


def signature_of(node: Node) -> Signature | None:
    """The signature of a function definition, from the library's reading of it."""
    if node.signature is None:
        return None
    return Signature(
        [
            Parameter(str(part.type), str(part.regex), str(part.regex).rstrip("?+") if part.context else "", part.subtype or "")
            for part in node.signature._params  # noqa: SLF001  # it keeps them nowhere else
        ],
    )


def _regex(pattern: str, flags: Any) -> Regex:
    return Regex(pattern, ("i" if flags.case_insensitive else "") + ("m" if flags.multiline else ""))


def _syntax_error(error: Any) -> JsonataError:
    code = str(error.error)
    if code not in MESSAGES:
        return JsonataError("S0201", str(error))
    first, second = _VALUE_NAMES.get(code, ("token", "value"))
    return failure(code, **{first: _text(error.current), second: _text(error.expected)})


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def well_formed(text: str) -> str:
    r"""The text with the surrogate pairs of ``\uD834\uDD1E`` joined to characters."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
