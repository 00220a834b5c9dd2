"""JSONPath as Step Functions evaluates it: reference paths walked directly, queries by steps, filters by python-jsonpath.

What AWS's recorded answers fix: a query (wildcard, slice, filter, union, ``..``) always gives a list, ``[]`` where nothing
matches, even below a missing member; a reference path gives the value or fails. Filters follow Jayway: on an object they
test that object, ``1 == '1'`` holds, functions stand at the end of the path only. Regular expressions in filters (``=~``)
are refused: the pattern is the author's, the text a caller's, and Python's engine has no time limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import cast

from jsonpath import JSONPathEnvironment
from jsonpath import filter as filters
from jsonpath.exceptions import JSONPathError
from jsonpath.segments import JSONPathChildSegment
from jsonpath.selectors import Filter, FilterContext, IndexSelector, NameSelector, SliceSelector, WildcardSelector

from flowrunner.errors import BudgetExceeded, ExpressionError, ExpressionSyntaxError, PathNotFound, ResultTooLarge
from flowrunner.jsonvalue import JSONValue, weight
from flowrunner.lang.environment import Environment, Meter
from flowrunner.lang.reference import Part, Step, bracketed, is_reference, java_text, parse, read, steps_of, write

__all__ = ["Path", "compile_path", "is_reference"]

MAX_VISITS = 1_000_000  # values looked at by one evaluation; a 256 KiB payload has at most 131,072
VISITS_PER_STEP = 4  # a visit takes about 0.2 µs, a step of the meter stands for 1 µs
FILTER_COST = 5  # visits that each part of a filter (operator, path or literal) counts for, per test: the ratio of their measured times
MAX_FILTER_NESTING = 32  # nested parentheses in a filter; the library parses recursively

Apply = Callable[[list[JSONValue], JSONValue, "Budget"], list[JSONValue]]
Query = Callable[[JSONValue, str, Environment], JSONValue]


class Path:
    """A compiled path. `steps` is what a definite path walks, () for queries; `root` is ``$``, ``$$`` or a variable's name."""

    __slots__ = ("_named", "_query", "definite", "root", "steps", "text", "variables")

    def __init__(self, text: str, root: str, steps: tuple[Step, ...] | None, query: Query | None) -> None:
        self.text = text
        self.root = root
        self.definite = query is None
        self.steps: tuple[Step, ...] = steps or ()
        self.variables: frozenset[str] = frozenset() if root in {"$", "$$"} else frozenset((root,))
        self._query = query
        self._named = all(isinstance(step, str) for step in self.steps)

    def evaluate(self, environment: Environment) -> JSONValue:
        """The value the path names; a list for queries. Raises PathNotFound; for a query also BudgetExceeded, ResultTooLarge."""
        root = self.root
        if root == "$":
            value = start = environment.document
        elif root == "$$":
            value = start = environment.context
        elif root in environment.variables:
            value = start = environment.variables[root]
        else:
            raise PathNotFound(self.text, f"Variable '{root}' is not defined")
        if self._query is not None:
            return self._query(value, self.text, environment)
        if not self._named:
            return read(value, self.steps, self.text)
        try:
            for step in self.steps:
                value = value[step]
        except (KeyError, TypeError):
            return read(start, self.steps, self.text)  # words what is missing
        return value

    def write(self, document: JSONValue, value: JSONValue) -> JSONValue:
        """`document` with `value` at this place, as ResultPath does: a new document that shares what is off the path.

        Missing objects are made. Raises PathNotWritable where the document does not fit, ExpressionError for a path that
        names no single place in the document.
        """
        if not self.definite or self.root != "$":
            raise ExpressionError(f"{self.text!r} is not a reference path into the document.")
        return write(document, value, self.steps, self.text)

    def __repr__(self) -> str:
        return f"Path({self.text!r})"


def compile_path(text: str) -> Path:
    """Compile a path. Raises ExpressionSyntaxError."""
    parsed = parse(text)
    steps = steps_of(parsed.parts)
    if steps is not None:
        return Path(text, parsed.root, steps, None)
    return Path(text, parsed.root, None, _query(parsed.parts))


class Budget:
    """Visits left to one evaluation: as many as the state's meter pays for."""

    __slots__ = ("_most", "left")

    def __init__(self, meter: Meter) -> None:
        self.left = self._most = max(0, min(MAX_VISITS, meter.left * VISITS_PER_STEP))

    @property
    def steps(self) -> int:
        """What was spent so far, in steps of the meter."""
        return (self._most - max(self.left, 0)) // VISITS_PER_STEP

    def spend(self, visits: int) -> None:
        """Raises BudgetExceeded when none are left."""
        self.left -= visits
        if self.left < 0:
            raise BudgetExceeded(f"The path looked at more than {self._most} values.")


def _query(parts: tuple[Part, ...]) -> Query:
    """The evaluator of a query: leading reference steps are read, the rest applied level by level."""
    function = FUNCTIONS[_known(parts[-1])] if parts[-1].kind == "function" else None
    if function is not None:
        parts = parts[:-1]
    head = 0
    while head < len(parts) and steps_of(parts[head : head + 1]) is not None:
        head += 1
    lead = cast("tuple[Step, ...]", steps_of(parts[:head]))
    tail = parts[head:]
    single = not tail or (len(tail) == 1 and _merges(tail[0]))
    levels = [_apply(part, last=position == len(tail) - 1) for position, part in enumerate(tail)]

    copies = any(part.deep or (part.kind in {"names", "indexes"} and len(part.value) > 1) for part in tail)  # may give a part more than once

    def evaluate(start: JSONValue, text: str, environment: Environment) -> JSONValue:
        try:
            found = [read(start, lead, text)]
        except PathNotFound:
            if single:
                raise
            found = []
        budget = Budget(environment.meter)
        try:
            for level in levels:
                found = level(found, start, budget)
        finally:
            environment.meter.take(budget.steps)
        if single and not found:
            raise PathNotFound(text, f"No results for path: {bracketed(lead)}")
        result = found[0] if single else found
        if copies and weight(result) > environment.most_bytes:
            raise ResultTooLarge
        return result if function is None else function(result, text)

    return evaluate


def _merges(part: Part) -> bool:
    """Whether the part is ``['a','b']`` at the end of a path: Jayway gives one object with these members."""
    return part.kind == "names" and len(part.value) > 1 and not part.deep


def _apply(part: Part, *, last: bool) -> Apply:
    """What one part does to the values found so far, in document order."""
    if part.kind == "filter":
        return _filter(str(part.value), deep=part.deep)
    select = _selector(part, last=last)

    def apply(found: list[JSONValue], _: JSONValue, budget: Budget) -> list[JSONValue]:
        results: list[JSONValue] = []
        for value in chain.from_iterable(_descend(item, budget) for item in found) if part.deep else found:
            selected = select(value)
            budget.spend(1 + len(selected))
            results += selected
        return results

    return apply


def _selector(part: Part, *, last: bool) -> Callable[[JSONValue], list[JSONValue]]:
    match part.kind:
        case "names" if len(part.value) > 1 and last:
            return lambda value: [{name: value[name] for name in part.value if name in value}] if isinstance(value, dict) else []
        case "names":
            return lambda value: [value[name] for name in part.value if name in value] if isinstance(value, dict) else []
        case "indexes":
            return lambda value: [value[i] for i in cast("tuple[int, ...]", part.value) if -len(value) <= i < len(value)] if isinstance(value, list) else []
        case "slice":
            span = slice(*cast("tuple[int | None, int | None]", part.value))
            return lambda value: value[span] if isinstance(value, list) else []
        case _:  # wildcard: a function elsewhere than at the end does not parse
            return lambda value: list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _descend(value: JSONValue, budget: Budget) -> Iterator[JSONValue]:
    """`value` and everything in it, containers before their content, in document order."""
    stack = [value]
    while stack:
        value = stack.pop()
        budget.spend(1)
        yield value
        if isinstance(value, dict):
            stack.extend(reversed(value.values()))
        elif isinstance(value, list):
            stack.extend(reversed(value))


def _filter(text: str, *, deep: bool) -> Apply:
    """``[?(...)]``: the elements of an array for which it holds; an object itself, if it holds for the object."""
    test, cost = _compile_filter(text)

    def apply(found: list[JSONValue], start: JSONValue, budget: Budget) -> list[JSONValue]:
        results: list[JSONValue] = []
        for value in chain.from_iterable(_descend(item, budget) for item in found) if deep else found:
            if isinstance(value, dict):
                candidates = [value]
            elif isinstance(value, list):
                candidates = [item for item in value if not (deep and isinstance(item, dict))]  # these come up themselves
            else:
                continue
            budget.spend(1 + cost * len(candidates))
            results += [candidate for candidate in candidates if test(candidate, start)]
        return results

    return apply


class _Filters(JSONPathEnvironment):
    """The library's extension point for comparisons: Jayway compares a number with a string by the kind on the left."""

    def compare(self, left: object, operator: str, right: object) -> bool:
        """As the library, but ``==`` and ``!=`` convert between numbers and strings."""
        if operator in {"==", "!="} and isinstance(left, str | int | float) and isinstance(right, str | int | float):
            left, right = _alike(left, right)
        return super().compare(left, operator, right)


def _alike(left: str | float, right: str | float) -> tuple[object, object]:
    if isinstance(left, bool) or isinstance(right, bool) or isinstance(left, str) == isinstance(right, str):
        return left, right
    if isinstance(left, str):
        return left, java_text(right)
    try:
        return left, float(right)
    except ValueError:
        return left, right


_ENVIRONMENT = _Filters(filter_caching=False)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_EXPRESSIONS = (
    filters.FilterExpression,
    filters.InfixExpression,
    filters.PrefixExpression,
    filters.ListLiteral,
    filters.Nil,
    filters.BooleanLiteral,
    filters.StringLiteral,
    filters.IntegerLiteral,
    filters.FloatLiteral,
)
_SINGLE = (NameSelector, IndexSelector)
_MANY = (*_SINGLE, SliceSelector, WildcardSelector)


def _compile_filter(text: str) -> tuple[Callable[[JSONValue, JSONValue], bool], int]:
    """The test, and how many visits one of it counts for."""
    bare = _QUOTED.sub("", text)
    if "/" in bare or "=~" in bare:
        raise ExpressionSyntaxError(f"Regular expressions in filters are not supported: {text[:200]!r}.")
    if bare.count("(") + bare.count("[") + bare.count("!") > MAX_FILTER_NESTING:
        raise ExpressionSyntaxError(f"The filter nests deeper than {MAX_FILTER_NESTING}.")
    try:
        compiled = _ENVIRONMENT.compile(f"$[{text}]")
        (segment,) = compiled.segments  # type: ignore[union-attr]  # a compound path fails here, as it should
        (selector,) = segment.selectors
    except (JSONPathError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise ExpressionSyntaxError(f"Invalid filter {text[:200]!r}: {error}") from None
    if not isinstance(selector, Filter):
        raise ExpressionSyntaxError(f"Invalid filter {text[:200]!r}.")
    expression = selector.expression
    cost = FILTER_COST * _check_filter(expression, text)

    def test(current: JSONValue, root: JSONValue) -> bool:
        try:
            return bool(expression.evaluate(FilterContext(env=_ENVIRONMENT, current=current, root=root)))
        except (JSONPathError, ArithmeticError) as error:
            raise ExpressionError(f"The filter {text[:200]!r} failed: {error}") from None

    return test, cost


def _check_filter(expression: filters.BaseExpression, text: str) -> int:
    """Only what takes time in proportion to the value tested: no functions, no ``..`` or filters inside, ``$`` single. How many parts it has."""
    if isinstance(expression, filters.RelativeFilterQuery | filters.RootFilterQuery):
        allowed = _MANY if isinstance(expression, filters.RelativeFilterQuery) else _SINGLE
        for segment in expression.path.segments:
            if not isinstance(segment, JSONPathChildSegment) or not all(isinstance(each, allowed) for each in segment.selectors):
                raise ExpressionSyntaxError(f"The path inside the filter {text[:200]!r} is not supported.")
        return 1
    if not isinstance(expression, _EXPRESSIONS):
        raise ExpressionSyntaxError(f"The filter {text[:200]!r} uses something that is not supported.")
    return 1 + sum(_check_filter(child, text) for child in expression.children())


def _numbers(value: JSONValue, text: str) -> list[float]:
    items = value if isinstance(value, list) else []
    try:
        numbers = [float(item) for item in items if isinstance(item, int | float) and not isinstance(item, bool)]
    except OverflowError:
        raise PathNotFound(text, "A number is too large to calculate with") from None
    if not numbers:
        raise PathNotFound(text, "Aggregation function attempted to calculate value using empty array")
    return numbers


def _average(value: JSONValue, text: str) -> float:
    numbers = _numbers(value, text)
    return sum(numbers) / len(numbers)


def _deviation(value: JSONValue, text: str) -> float:
    numbers = _numbers(value, text)
    mean = sum(numbers) / len(numbers)
    return float((sum((number - mean) ** 2 for number in numbers) / len(numbers)) ** 0.5)


def _length(value: JSONValue, _: str) -> int | None:
    return len(value) if isinstance(value, list | dict) else None


def _end(position: int) -> Callable[[JSONValue, str], JSONValue]:
    def end(value: JSONValue, text: str) -> JSONValue:
        if not isinstance(value, list) or not value:
            raise PathNotFound(text, "Aggregation function attempted to calculate value using empty array")
        return value[position]

    return end


FUNCTIONS: dict[str, Callable[[JSONValue, str], JSONValue]] = {
    "avg": _average,
    "first": _end(0),
    "keys": lambda value, _: list(value) if isinstance(value, dict) else None,
    "last": _end(-1),
    "length": _length,
    "max": lambda value, text: max(_numbers(value, text)),
    "min": lambda value, text: min(_numbers(value, text)),
    "size": _length,
    "stddev": _deviation,
    "sum": lambda value, text: sum(_numbers(value, text)),
}


def _known(part: Part) -> str:
    name = str(part.value)
    if name not in FUNCTIONS:
        raise ExpressionSyntaxError(f"There is no path function {name}(); there are {', '.join(sorted(FUNCTIONS))}.")
    return name
