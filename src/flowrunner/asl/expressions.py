"""Compiling paths, payload templates and JSONata of a state, with findings where they do not compile.

Message of refused ``.$`` fields: recorded. Codes and places of refused JSONata: github.com/floci-io/floci/issues/2670, 2745.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from flowrunner.asl.jsonata_checks import UNSUPPORTED_JSONATA, top_level_references, unknown_states_fields
from flowrunner.core.program import Field, Language, Template
from flowrunner.errors import ExpressionError
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.jsonata import compile_expression
from flowrunner.lang.jsonata.template import compile_jsonata_template, expression_text, is_expression
from flowrunner.lang.jsonpath import Path, compile_path
from flowrunner.lang.reference import is_reference
from flowrunner.lang.template import compile_template, compile_value
from flowrunner.reading.findings import SCHEMA, Findings, Place, pointer_of

INVALID_JSONATA = "INVALID_JSONATA_EXPRESSION"
NO_PATH, NO_REFERENCE = "Value must be a valid JSONPath.", "Value is not a Reference Path"
REFERENCES = frozenset(  # fields of a Map that take a reference path and nothing else
    f"{name}Path"
    for name in ("Items", "MaxConcurrency", "ToleratedFailureCount", "ToleratedFailurePercentage", "MaxItems", "MaxItemsPerBatch", "MaxInputBytesPerBatch")
)
_JSONATA_CODE = re.compile(r"^[A-Z]\d{4}: ")
_LOOKS_LIKE_PATH = re.compile(r"\$(?:\$)?(?:[.\[]\S*)?|States\.[A-Z]\w+\(.*\)", re.DOTALL)
_RESERVED_VARIABLES = frozenset({"states"})


class Budget:
    """Bounds the time that compiling the expressions of one definition takes, which is far above reading them.

    Measured: up to 25 microseconds a character for JSONata and JSONPath filters, half a millisecond for the shortest.
    """

    LIMIT = 262_144  # characters; about five seconds at the worst
    LEAST = 50  # characters that every expression counts for

    def __init__(self) -> None:
        self._left = self.LIMIT

    def allows(self, texts: Iterable[str]) -> bool:
        """Take off what these expressions cost; false once it is used up, for good."""
        if self._left >= 0:
            self._left -= sum(max(len(text), self.LEAST) for text in texts)
        return self._left >= 0


@dataclass(frozen=True, slots=True)
class Scope:
    """Where the reader is: the state (or a part of it), its language, and the variables its expressions use."""

    found: Findings
    place: Place
    language: Language
    budget: Budget = field(default_factory=Budget)
    uses: set[str] = field(default_factory=set)

    def at(self, *parts: str | int) -> Scope:
        """The same state, further in."""
        return replace(self, place=(*self.place, *parts))

    def error(self, message: str, *parts: str | int) -> None:
        """Add an error at this place or below."""
        self.found.error((*self.place, *parts), message)

    def affords(self, texts: Iterable[str]) -> bool:
        """Whether these expressions may still be compiled; an error when not."""
        if self.budget.allows(texts):
            return True
        self.error(f"The expressions of the definition have more than {Budget.LIMIT} characters together")
        return False


def compiled_path(scope: Scope, text: str, name: str, *, said: str = NO_PATH) -> Path | None:
    """The path `text` of the field `name`; None when it does not compile."""
    if "?" in text and not scope.affords((text,)):
        return None
    try:
        path = compile_path(text)
    except ExpressionError:
        scope.error(said, name)
        return None
    scope.uses.update(path.variables)
    return path


def path_of(scope: Scope, fields: JSONObject, name: str) -> Path | None:
    """The path in this field; None when it is missing, null or wrong."""
    text = fields.get(name)
    return None if text is None else compiled_path(scope, text, name)


def result_path_of(scope: Scope, fields: JSONObject) -> Path | None:
    """``ResultPath``: a reference path into the document, no variable and no context object."""
    text = fields.get("ResultPath")
    if text is None:
        return None
    if not is_reference(text) or (path := compile_path(text)).root != "$":
        scope.error(NO_REFERENCE if text.startswith("$") else NO_PATH, "ResultPath")
        return None
    return path


def _check_reference(scope: Scope, name: str, path: Path) -> None:
    """What a Map is counted by names one value: no query, and nothing of the context object, which only ItemsPath takes."""
    if not path.definite or (path.root == "$$" and name != "ItemsPath"):
        scope.found.refuse((*scope.place, name), NO_REFERENCE, SCHEMA)


def value_of(scope: Scope, text: str, name: str) -> Template | None:
    """A path or an intrinsic function call, as in ``ErrorPath``."""
    if "?" in text and not scope.affords((text,)):
        return None
    try:
        template = compile_value(text)
    except ExpressionError:
        scope.error(_not_a_path(name), name)
        return None
    scope.uses.update(_variables(template))
    return template


def _not_a_path(name: str) -> str:
    return f"The value for the field '{name}' must be a valid JSONPath or a valid intrinsic function call"


def _variables(compiled: object) -> frozenset[str]:
    return frozenset(getattr(compiled, "variables", ())) - _RESERVED_VARIABLES


def template_of(scope: Scope, value: JSONValue, name: str) -> Template | None:
    """The value of this field compiled in the state's language; None when something in it does not compile."""
    inner = scope.at(name)
    template = _jsonata_template(inner, value) if scope.language == "JSONata" else _payload_template(inner, value, name)
    scope.uses.update(_variables(template))
    return template


def _jsonata_template(scope: Scope, value: JSONValue) -> Template | None:
    """Compile; when that fails, say which expressions are to blame, else which of them AWS would refuse."""
    before = scope.found.count()
    strings = list(_strings(scope.place, value))
    if not scope.affords(text for _, text in strings if is_expression(text)):
        return None
    try:
        template: Template | None = compile_jsonata_template(value)
    except ExpressionError:
        template = None
    for place, text in strings:
        if not is_expression(text):
            if text.startswith("{%") or text.endswith("%}"):
                scope.found.error(place, "JSONata string must start with {% and end with %}")
            continue
        if template is None:
            _blame(scope.found, place, expression_text(text))
        for reference in top_level_references(expression_text(text)):
            scope.found.error(place, f"Reference to '{reference}' at the top level is not supported.", UNSUPPORTED_JSONATA)
        for reference in () if _is_caught(scope.place) else unknown_states_fields(expression_text(text)):
            scope.found.refuse(place, f"Field '{reference}' does not exist.", UNSUPPORTED_JSONATA)
    if template is None and scope.found.count() == before:
        scope.error("The JSONata expressions of this field cannot be compiled")
    return template


def _is_caught(place: Place) -> bool:
    """Whether a field belongs to a catcher, which alone sees the error."""
    return len(place) > 2 and place[-3] == "Catch" and isinstance(place[-2], int)


def _blame(found: Findings, place: Place, expression: str) -> None:
    try:
        compile_expression(expression)
    except ExpressionError as error:
        found.error(place, _JSONATA_CODE.sub("", error.message), INVALID_JSONATA)


def _payload_template(scope: Scope, value: JSONValue, name: str) -> Template | None:
    if not scope.affords(text for _, text in _strings(scope.place, value) if "?" in text):  # filters; other paths are cheap
        return None
    if _refused_payload(scope, value, name):
        return None
    try:
        return compile_template(value, pointer=pointer_of(scope.place))
    except ExpressionError as error:
        scope.error(error.message)
        return None


def _strings(place: Place, value: JSONValue) -> Iterator[tuple[Place, str]]:
    stack = [(place, value)]
    while stack:
        at, part = stack.pop()
        if isinstance(part, str):
            yield at, part
        elif isinstance(part, dict):
            stack.extend(((*at, key), child) for key, child in reversed(part.items()))
        elif isinstance(part, list):
            stack.extend(((*at, index), part[index]) for index in range(len(part) - 1, -1, -1))


def _refused_payload(scope: Scope, value: JSONValue, name: str) -> int:
    """Add a finding for every ``.$`` member that does not compile, and say how many there are. AWS names the state's field as the place, however deep the member stands."""
    before = scope.found.count()
    warnings = 0
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(reversed(part))
        if not isinstance(part, dict):
            continue
        stack.extend(reversed([child for key, child in part.items() if not key.endswith(".$")]))
        for key, child in part.items():
            if key.endswith(".$"):
                _check_dynamic(scope, key, child)
                if key[:-2] in part:
                    scope.error(f"The field '{key[:-2]}' stands beside '{key}', which would replace it")
            elif name != "Assign" and isinstance(child, str) and len(child) > 1 and _LOOKS_LIKE_PATH.fullmatch(child):
                warnings += 1
                scope.found.warning(scope.place, f"No .$ on the field '{key}' that appears to be a JSONPath or Intrinsic Function", "NO_DOLLAR")
    return scope.found.count() - before - warnings


def _check_dynamic(scope: Scope, key: str, value: JSONValue) -> None:
    try:
        if isinstance(value, str):
            compile_value(value)
            return
    except ExpressionError:
        pass
    scope.error(_not_a_path(key))


def field_of(scope: Scope, fields: JSONObject, name: str) -> Field | None:
    """A field that is a constant, in JSONata possibly an expression, or in JSONPath possibly a path in ``<name>Path``."""
    by_path = f"{name}Path"
    if by_path in fields:
        path = path_of(scope, fields, by_path)
        if path is not None and by_path in REFERENCES:
            _check_reference(scope, by_path, path)
        return None if path is None else Field(name=by_path, template=path)
    if name not in fields:
        return None
    value = fields[name]
    if scope.language == "JSONata" and not isinstance(value, (int, float, bool)):
        template = template_of(scope, value, name)
        if template is None:
            return None
        if not getattr(template, "constant", False):
            return Field(name=name, template=template)
    return Field(name=name, constant=value)


def optional_template(scope: Scope, fields: JSONObject, *names: str) -> Template | None:
    """The first of these fields that is there, compiled."""
    for name in names:
        if name in fields:
            return template_of(scope, fields[name], name)
    return None
