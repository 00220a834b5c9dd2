"""What a JSONata evaluation works on: values, frames of names, functions, and the budget.

JSON values are the plain Python ones and are never copied or changed. Undefined is `UNDEFINED`, so ``None`` is JSON's null
and nothing else. Containers made by the evaluation are `Array` and `Object`: only these need to be turned into plain ones.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from time import thread_time  # the one clock of ``lang``: it ends a runaway evaluation of plain JSONata, never one in a state
from typing import Any, Final

from flowrunner.entropy import Entropy
from flowrunner.errors import BudgetExceeded
from flowrunner.lang.jsonata.messages import failure

MAX_STEPS = 250_000  # per evaluation in a state: list items visited or made, calls, 6 operators, 64 characters of text made; 1 to 3 µs each
MAX_CALL_DEPTH = 100  # calls of functions defined in the expression within each other; the reference's suite expects 100 to work
PLAIN_STEPS = 4_000_000  # of plain JSONata, outside of any engine: there the seconds are what ends it
PLAIN_SECONDS = 2.0  # of processor time: a busy machine makes no difference
MAX_TEXT_CHARS = 4_194_304  # of one text made by the evaluation
_SCANNED_PER_STEP = 2_048
_STEPS_PER_LOOK = 2_000  # steps between two looks at the clock


class Sentinel(enum.Enum):
    """What is not a JSON value."""

    UNDEFINED = "undefined"
    UNSUPPORTED = "unsupported"
    MISSING = "missing"
    HOLE = "hole"


UNDEFINED: Final = Sentinel.UNDEFINED  # no value at all: JSONata's undefined
UNSUPPORTED: Final = Sentinel.UNSUPPORTED  # a function where a JSON value is needed
MISSING: Final = Sentinel.MISSING  # a name no frame binds
HOLE: Final = Sentinel.HOLE  # the ``?`` of a partial application


class Array(list[Any]):
    """An array made by the evaluation; with `cons`, one that paths do not flatten."""

    cons = False


class Sequence(Array):
    """A result sequence: one item stands for itself unless `keep`, no item is undefined."""

    keep = False


class Wrapper(Sequence):
    """The input document, when it is an array: one item, the array."""


class Tuples(Sequence):
    """A stream of bindings (``@``, ``#``, ``%``): each item a dict of names, ``"@"`` the value."""


class Object(dict[str, Any]):
    """An object made by the evaluation."""


class Run:
    """One evaluation: its budget, its clock and its randomness.

    The budget is in steps, which say alone how the evaluation of a state ends: replay comes to the same. Plain JSONata may have one in
    seconds too.
    """

    __slots__ = ("_deadline", "_left", "_seconds", "_steps", "depth", "entropy", "fuel", "now")

    def __init__(self, now: int, entropy: Entropy, *, steps: int = MAX_STEPS, seconds: float | None = None) -> None:
        self.now = now
        self.entropy = entropy
        self.depth = 0
        self._steps, self._seconds = steps, seconds
        self.fuel = steps if seconds is None else min(_STEPS_PER_LOOK, steps)
        self._left = steps - self.fuel
        self._deadline = 0.0 if seconds is None else thread_time() + seconds

    @property
    def spent(self) -> int:
        """How many steps were taken so far."""
        return self._steps - max(self._left, 0) - max(self.fuel, 0)

    def spend(self, steps: int) -> None:
        """Take `steps` off the budget; raises BudgetExceeded when there are none left."""
        self.fuel -= steps
        if self.fuel < 0:
            self._left += self.fuel
            if self._left < 0:
                raise BudgetExceeded(f"The expression took more than {self._steps} steps.")
            if self._seconds is not None and thread_time() > self._deadline:
                raise BudgetExceeded(f"The expression took more than {self._seconds:g} s.")
            self.fuel = min(_STEPS_PER_LOOK, self._left)
            self._left -= self.fuel

    def text(self, characters: int) -> None:
        """Take a text about to be made off the budget."""
        if characters > MAX_TEXT_CHARS:
            raise BudgetExceeded(f"The expression made a text of more than {MAX_TEXT_CHARS} characters.")
        self.spend((characters >> 6) + 1)

    def scan(self, characters: int) -> None:
        """Take a text about to be searched, compared or copied off the budget: some 2 µs per 4,096 characters."""
        if characters >= _SCANNED_PER_STEP:
            self.spend(characters // _SCANNED_PER_STEP)


class Frame:
    """Names in scope, and the scope around it."""

    __slots__ = ("names", "parent", "run")

    def __init__(self, names: Mapping[str, Any], parent: Frame | None, run: Run) -> None:
        self.names: Any = names
        self.parent = parent
        self.run = run

    def lookup(self, name: str) -> Any:
        """The value bound to `name` in the nearest scope; UNDEFINED when none binds it."""
        frame: Frame | None = self
        while frame is not None:
            value = frame.names.get(name, MISSING)
            if value is not MISSING:
                return value
            frame = frame.parent
        return UNDEFINED


Code = Callable[[Any, Frame], Any]  # a compiled expression: (context value, names) -> value
Compile = Callable[[Any], Code]  # a node of the syntax tree to its function


class Function:
    """Anything that can be called in an expression."""

    __slots__ = ("arity", "name", "signature")

    def __init__(self, name: str, arity: int, signature: Any = None) -> None:
        self.name = name
        self.arity = arity
        self.signature = signature


class Native(Function):
    """A function written in Python: called with the run, then its arguments (UNDEFINED for the missing ones).

    A `contextual` one gets the context value and the frame of the call after the run.
    """

    __slots__ = ("call", "contextual", "parameters")

    def __init__(self, name: str, call: Callable[..., Any], signature: Any, parameters: int, *, contextual: bool = False) -> None:
        super().__init__(name, signature.least if signature is not None else parameters, signature)
        self.call = call
        self.parameters = parameters
        self.contextual = contextual


class Lambda(Function):
    """A function of the expression, closed over the frame it was made in."""

    __slots__ = ("body", "focus", "frame", "parameters")

    def __init__(self, parameters: tuple[str, ...], body: Code, focus: Any, frame: Frame, signature: Any) -> None:
        super().__init__("lambda", len(parameters), signature)
        self.parameters = parameters
        self.body = body
        self.focus = focus
        self.frame = frame


class Partial(Function):
    """A function with some arguments given; HOLE stands for those that are not."""

    __slots__ = ("given", "target")

    def __init__(self, target: Function, given: list[Any]) -> None:
        super().__init__(target.name, sum(argument is HOLE for argument in given))
        self.target = target
        self.given = given

    def filled(self, arguments: list[Any]) -> list[Any]:
        """All arguments of the target."""
        rest = iter(arguments)
        return [next(rest, UNDEFINED) if argument is HOLE else argument for argument in self.given]


class Thunk:
    """A call in tail position, not made yet: the trampoline in `apply` makes it without growing the stack."""

    __slots__ = ("focus", "frame", "prepare")

    def __init__(self, prepare: Callable[[Any, Frame], tuple[Any, list[Any]]], focus: Any, frame: Frame) -> None:
        self.prepare = prepare
        self.focus = focus
        self.frame = frame


def normal(value: Any) -> Any:
    """A result sequence of one item as that item, of none as UNDEFINED; anything else as it is."""
    if type(value) is Sequence:
        if not value:
            return UNDEFINED
        if len(value) == 1 and not value.keep:
            return value[0]
    return value


def sequence(value: Any) -> Sequence:
    """A sequence of this one value."""
    made = Sequence()
    made.append(value)
    return made


def is_number(value: Any) -> bool:
    """Whether it is a number; an infinite one is an error wherever a number is looked at (D1001)."""
    kind = type(value)
    if kind is int:
        return True
    if kind is float:
        if value - value == 0:
            return True
        if math.isinf(value):
            raise failure("D1001", value="Infinity" if value > 0 else "-Infinity")
    return False


def number(value: float) -> int | float:
    """A result of arithmetic: whole numbers that JavaScript prints without an exponent are ints."""
    if type(value) is float and value.is_integer() and -1e21 < value < 1e21:
        return int(value)
    return value


def boolean(value: Any, run: Run) -> bool:
    """JSONata's ``$boolean``; undefined is false."""
    if value is True or value is False:
        return value is True
    if isinstance(value, list):
        if len(value) == 1:
            return boolean(value[0], run)
        looked = 0
        for item in value:
            looked += 1
            if boolean(item, run):
                break
        else:
            looked = -looked
        run.spend((abs(looked) >> 3) + 1)
        return looked > 0
    if value is None or isinstance(value, (Sentinel, Function)):
        return False
    return bool(value)


def same(left: Any, right: Any, run: Run) -> bool:
    """Deep equality; true is not 1."""
    if isinstance(left, list):
        if not isinstance(right, list) or len(left) != len(right):
            return False
        run.spend(len(left))
        return all(same(a, b, run) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict):
        if not isinstance(right, dict) or left.keys() != right.keys():
            return False
        run.spend(len(left))
        return all(same(value, right[key], run) for key, value in left.items())
    if type(left) is str:
        run.scan(len(left))
    if left is True or left is False or right is True or right is False:
        return left is right
    if isinstance(left, Function):
        return left is right
    return bool(left == right)


def extend(target: list[Any], value: Any, run: Run) -> None:
    """Append `value`, an array as its items."""
    if isinstance(value, list):
        run.spend(len(value))
        target.extend(value)
    else:
        target.append(value)


def joined(left: Any, right: Any, run: Run) -> Any:
    """JSONata's ``$append``."""
    if left is UNDEFINED:
        return right
    if right is UNDEFINED:
        return left
    made = Array()
    extend(made, left, run)
    extend(made, right, run)
    return made
