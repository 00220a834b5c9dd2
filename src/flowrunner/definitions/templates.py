"""Action templates: steps made ready, with parameters; workflows name them, and are read with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from flowrunner.definitions.entries import Definition
from flowrunner.definitions.records import Records
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue, loads
from flowrunner.ports.documents import DocumentStore
from flowrunner.ports.store import Store

KIND = "action-template"
Scope = Literal["system", "platform", "organization", "project"]
PAGE = 500
_definition = msgspec.json.Decoder(Definition).decode


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a step may, or must, give to a template."""

    name: str
    type: str = "string"
    description: str = ""
    required: bool = False
    default: Any = msgspec.UNSET


class ActionTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A step made ready: its type and config, what it takes, and where its outputs are. `version` counts its changes; times are milliseconds since 1970 UTC."""

    id: str
    name: str
    type: str
    created_at: int
    updated_at: int
    version: int = 1
    description: str = ""
    scope: Scope = "project"
    category: str = ""
    config: dict[str, Any] = {}
    parameters: tuple[Parameter, ...] = ()
    outputs: dict[str, Any] = {}
    created_by: str = ""


def records(documents: DocumentStore) -> Records[ActionTemplate]:
    """The templates of all accounts."""
    return Records(documents, KIND, "action template", ActionTemplate, reserved=frozenset({"accessible"}), member="templateId")


async def around(store: Store, account: str, text: str) -> dict[str, Any]:
    """The templates that a workflow names, as its front end takes them; nothing for a text that names none or cannot be read."""
    kept, found = records(store.documents), {}
    for name in sorted(named(text)):
        stored = await kept.find(account, name)
        if stored is not None:
            found[name] = compiled(stored.entry)
    return {"templates": found} if found else {}


def compiled(template: ActionTemplate) -> JSONObject:
    """A template as the front end of workflows takes it."""
    parameters = msgspec.to_builtins(template.parameters)
    return {"type": template.type, "config": template.config, "parameters": parameters, "outputs": template.outputs, "version": template.version}


def named(text: str) -> set[str]:
    """The ids of the templates that a workflow's text names."""
    if "actionTemplateId" not in text:
        return set()
    try:
        value = loads(text)
    except InvalidDocument:
        return set()
    return set(_named(value))


def _named(value: JSONValue) -> Iterator[str]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(name := part.get("actionTemplateId"), str):
                yield name
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


async def users(store: Store, account: str, template: str) -> list[str]:
    """The ids of the workflows whose latest version names a template."""
    found: list[str] = []
    last: str | None = None
    while page := await store.documents.page(account, "workflow", after=last, limit=PAGE):
        for document in page:
            definition = _definition(document.body)
            revision = await store.definitions.revision(definition.latest.revision)
            if revision is not None and template in named(revision.definition):
                found.append(definition.id)
        last = page[-1].id
    return found
