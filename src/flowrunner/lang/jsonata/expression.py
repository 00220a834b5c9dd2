"""JSONata 2.0.6 as Step Functions speaks it: compile once, evaluate many times, within a budget.

The syntax tree comes from jsonata-python's parser (`parse`); evaluation is our own (`compile`), because values
are large, shared and never copied, because ``null`` and undefined differ, and because a hostile expression must end in an
error: see ``docs/decisions``. Safe from any thread: an evaluation keeps all its state in a `Run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns
from typing import Any

from flowrunner.entropy import Entropy
from flowrunner.errors import BudgetExceeded, ExpressionSyntaxError, JsonataError
from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.environment import Environment
from flowrunner.lang.jsonata.compile import compile_text
from flowrunner.lang.jsonata.functions import BUILT_IN, natives
from flowrunner.lang.jsonata.messages import failure
from flowrunner.lang.jsonata.result import plain
from flowrunner.lang.jsonata.values import PLAIN_SECONDS, PLAIN_STEPS, UNDEFINED, UNSUPPORTED, Code, Frame, Run, Wrapper
from flowrunner.lang.jsonata.variables import free_names

__all__ = ["UNDEFINED", "UNSUPPORTED", "JsonataExpression", "compile_expression", "evaluate"]

INTERNAL = "D9000"  # the code of what should not happen; the fuzz test looks for it


class JsonataExpression:
    """A compiled expression.

    `variables` are the workflow variables it refers to, without ``$``: not ``states``, not built-in functions, not names the
    expression binds itself.
    """

    __slots__ = ("_code", "text", "variables")

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            tree, self._code = compile_text(text)
        except JsonataError as error:
            raise ExpressionSyntaxError(f"{error.code}: {error.message}") from None
        self.variables = free_names(tree) - BUILT_IN.keys() - {"states"}

    def evaluate(self, environment: Environment) -> Any:
        """The value, or UNDEFINED, or UNSUPPORTED for a function. Raises JsonataError or BudgetExceeded and nothing else.

        ``$states`` is the environment's `states`, ``$name`` its variables; ``$`` and ``$$`` are undefined, as in AWS.
        """
        meter = environment.meter
        if meter.left <= 0:
            raise BudgetExceeded("The expressions of this state took too many steps together.")
        run = Run(environment.now, environment.entropy, steps=meter.left)
        frame = Frame({"states": environment.states}, Frame(environment.variables, _frame(BUILT_IN, run), run), run)
        try:
            return _evaluated(self._code, UNDEFINED, frame, spelled=True)
        finally:
            meter.take(run.spent)

    def __repr__(self) -> str:
        return f"JsonataExpression({self.text!r})"


def compile_expression(text: str) -> JsonataExpression:
    """Compile one expression; raises ExpressionSyntaxError, JSONata's code first in its message."""
    return JsonataExpression(text)


def evaluate(expression: str, data: JSONValue, bindings: dict[str, JSONValue] | None = None) -> JSONValue:
    """Plain JSONata: the value of `expression` on the document `data`, None for undefined. Has ``$eval``.

    Raises JsonataError with JSONata's code; U1001 when the budget ran out.
    """
    _, code = compile_text(expression)
    run = Run(time_ns() // 1_000_000, Entropy(bytes(16), time_ns()), steps=PLAIN_STEPS, seconds=PLAIN_SECONDS)
    root = Frame({**(bindings or {}), "$": data}, _frame({**BUILT_IN, **_EVAL}, run), run)
    focus = UNDEFINED if data is None else data
    if isinstance(data, list):
        focus = Wrapper()
        focus.append(data)
    try:
        value = _evaluated(code, focus, root)
    except BudgetExceeded as error:
        raise JsonataError("U1001", error.message) from None
    return None if value is UNDEFINED or value is UNSUPPORTED else value


def _frame(names: Mapping[str, Any], run: Run) -> Frame:
    return Frame(names, None, run)


def _evaluated(code: Code, focus: Any, frame: Frame, *, spelled: bool = False) -> Any:
    try:
        return plain(code(focus, frame), frame.run, spelled=spelled)
    except RecursionError:
        raise BudgetExceeded("The expression is nested too deeply.") from None
    except MemoryError:
        raise BudgetExceeded("The expression needs too much memory.") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # a mistake of ours: fails the state, not the engine
        raise JsonataError(INTERNAL, f"The expression could not be evaluated: {type(error).__name__}: {error}") from error


def _eval(_run: Run, focus: Any, frame: Frame, text: Any, document: Any) -> Any:
    """``$eval``; not in Step Functions."""
    if text is UNDEFINED:
        return text
    try:
        _, code = compile_text(text)
    except JsonataError as error:
        raise failure("D3120", value=error.message) from None
    if isinstance(document, list):
        focus = Wrapper()
        focus.append(document)
    elif document is not UNDEFINED:
        focus = document
    try:
        return code(focus, frame)
    except JsonataError as error:
        raise failure("D3121", value=error.message) from None


_EVAL = natives([{"eval": ("<sx?:x>", _eval)}], contextual=True)
