"""How a step uses an action template: its version, its type, and the values it gives to the template's parameters."""

from __future__ import annotations

from flowrunner.jsonvalue import JSONObject, JSONValue, mentions
from flowrunner.kinds.check import is_type, type_of
from flowrunner.lang.braces import has_braces
from flowrunner.reading.findings import Place
from flowrunner.reading.wording import meant, shown
from flowrunner.workflow.compiling import Compiling
from flowrunner.workflow.fields import INVALID_VALUE, OLDER_NAMES, UNKNOWN_FIELD
from flowrunner.workflow.members import CONTRADICTION

TEMPLATED = "action-template"  # a type that says no more than that there is a template
# Types of parameters as authors write them, in JSON Schema's words; what is not here is not checked.
TYPES = {
    "string": "string", "text": "string", "number": "number", "float": "number", "integer": "integer", "int": "integer", "boolean": "boolean", "bool": "boolean",
    "array": "array", "list": "array", "object": "object", "json": "object", "map": "object",
}  # fmt: skip


def check_use(compiling: Compiling, given: JSONObject, name: str, template: JSONObject, place: Place) -> None:
    """Say what of a step's members does not fit the template of this name."""
    found = compiling.found
    present, wanted = template.get("version"), given.get("actionVersion")
    if present is not None and wanted is not None and str(wanted) != str(present):
        said = f"The action template '{name}' has the version {present}, not {wanted}; a workflow is read with the one that is there."
        found.refuse((*place, "actionVersion"), said, INVALID_VALUE, hint=f"Write {present}, or leave it out.")
    kind, own = given.get("type"), template.get("type")
    if kind is not None and own is not None and kind != TEMPLATED and _kind(compiling, kind) != _kind(compiling, own):
        found.refuse(
            (*place, "type"), f"'type' is {shown(kind)}, but the action template '{name}' is of the type '{own}'.", CONTRADICTION, hint="Leave it out."
        )
    parameters = {part["name"]: part for part in template.get("parameters", []) if isinstance(part, dict) and isinstance(part.get("name"), str)}
    config = {**template.get("config", {}), **given.get("config", {})}
    for parameter, value in given.get("inputs", {}).items():
        at = (*place, "inputs", parameter)
        if parameter in parameters:
            _check_type(compiling, parameter, parameters[parameter].get("type"), value, at)
        elif (parameters or config) and not _is_read(parameter, config):
            found.refuse(at, f"The action template '{name}' has no parameter '{parameter}'.", UNKNOWN_FIELD, hint=meant(parameter, parameters))


def _kind(compiling: Compiling, name: str) -> str:
    info = compiling.kinds.get(OLDER_NAMES.get(name, name))
    return name if info is None else info.name


def _is_read(name: str, config: JSONObject) -> bool:
    """Whether the config mentions a value that is no parameter: to its expressions it is a variable of the step."""
    return mentions(config, name)


def _check_type(compiling: Compiling, name: str, wanted: JSONValue, value: JSONValue, place: Place) -> None:
    """A constant is of the type of its parameter; an expression may become anything."""
    word = TYPES.get(wanted) if isinstance(wanted, str) else None
    if word is None or value is None or has_braces(value) or is_type(value, word):
        return
    compiling.found.refuse(place, f"'{name}' must be of the type {wanted}; {shown(value)} stands there, of the type {type_of(value)}.", INVALID_VALUE)
