"""A secret as it is stored, and as the service shows it."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from flowrunner.errors import InvalidSecret, NotFound, SealBroken
from flowrunner.jsonvalue import MAX_DEPTH, JSONObject, JSONValue, depth, dumps, loads
from flowrunner.ports.documents import Document
from flowrunner.vault.rotation import Sealed
from flowrunner.vault.types import Schema

SECRET = "secret"  # noqa: S105 - the kind of the documents
MAX_NAME_CHARACTERS = 256
MAX_VALUE_BYTES = 64 * 1024
MAX_TAGS = 50
MAX_TAG_CHARACTERS = 128
MAX_DESCRIPTION_CHARACTERS = 2048
_LONGEST_ID = 480  # of the 512 characters that a document's id may have
_HASHED_HEAD = 400
Form = Literal["simple", "structured"]
SecretType = Literal["general", "oauth", "api_key", "database", "jwt", "custom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretInfo:
    """What may be shown of a secret to whoever may list them. Times are milliseconds since 1970 UTC; `version` counts changes of the value."""

    name: str
    form: Form
    type: SecretType
    version: int
    created_at: int
    updated_at: int
    description: str = ""
    tags: tuple[str, ...] = ()
    expires_at: int | None = None
    last_used: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret with its value: a text for a simple one, fields for a structured one. Its `repr` shows neither."""

    info: SecretInfo
    data: JSONValue = field(repr=False)
    schema: Schema | None = None

    @property
    def text(self) -> str:
        """The whole value as text: a structured secret's fields as JSON."""
        return self.data if isinstance(self.data, str) else dumps(self.data)

    def at(self, path: str) -> JSONValue:
        """The value of a field: names (or places in an array) with dots between them. Raises NotFound, never with a value in it.

        A simple secret whose value is a JSON object has its members as fields, as in AWS's secret strings.
        """
        value = self.data
        if isinstance(value, str):
            value = _object(value)
        if isinstance(value, dict) and path in value:
            return value[path]
        for part in path.split("."):
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and len(part) < 9 and int(part) < len(value):
                value = value[int(part)]
            else:
                raise NotFound(f"field of the secret {self.info.name!r},", path)
        return value


def _object(text: str) -> JSONValue:
    try:
        return loads(text)
    except Exception:  # noqa: BLE001 - it is no JSON: then it has no fields
        return None


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a secret's document: everything but the value in clear, the value and the schema sealed."""

    name: str
    form: Form
    type: SecretType
    version: int
    created_at: int
    updated_at: int
    sealed: str
    description: str = ""
    tags: tuple[str, ...] = ()
    expires_at: int | None = None
    last_used: int | None = None
    v: int = 1

    def info(self) -> SecretInfo:
        """What may be shown."""
        return SecretInfo(**{name: getattr(self, name) for name in SecretInfo.__slots__})


class Plain(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sealed."""

    data: Any
    schema: Schema | None = None


def read(document: Document) -> Stored:
    """The body of a document. Raises SealBroken for what is no secret, or another's."""
    try:
        stored = msgspec.json.decode(document.body, type=Stored)
    except msgspec.MsgspecError:
        stored = None
    if stored is None or document_id(stored.name) != document.id:
        raise SealBroken(f"The document of the secret {document.id!r} was altered.", remedy="Restore the store from a backup.")
    return stored


def document(account: str, stored: Stored, version: int) -> Document:
    """The document of a secret, to take the place of its `version`."""
    return Document(account=account, kind=SECRET, id=document_id(stored.name), body=msgspec.json.encode(stored), version=version)


def sealed_bytes(stored: Stored) -> bytes:
    """The sealed value."""
    try:
        return base64.b64decode(stored.sealed, validate=True)
    except ValueError:
        return b""


def sealed_text(sealed: bytes) -> str:
    """The sealed value as it stands in the body."""
    return base64.b64encode(sealed).decode()


class SecretResealer:
    """Secrets, for the rotation."""

    kind = SECRET

    def sealed(self, document: Document) -> Sequence[Sealed]:
        """See the contract."""
        stored = read(document)
        return [Sealed(stored.name, stored.version, sealed_bytes(stored))]

    def resealed(self, document: Document, values: Sequence[bytes]) -> Document:
        """See the contract."""
        return replace(document, body=msgspec.json.encode(msgspec.structs.replace(read(document), sealed=sealed_text(values[0]))))


# --- checks


def checked_name(name: str) -> str:
    """The name in Unicode's composed form (NFC). Raises InvalidSecret for one that nobody could see or write."""
    name = unicodedata.normalize("NFC", name)
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable() or name != name.strip():
        raise InvalidSecret(f"The name of a secret is 1 to {MAX_NAME_CHARACTERS} visible characters, without blanks at its ends.", (("/key", "is no name"),))
    if "{" in name or "}" in name:
        raise InvalidSecret("The name of a secret holds no braces: references to it could not be told from the text around them.", (("/key", "holds a brace"),))
    return name


def document_id(name: str) -> str:
    """A document's id for a name: visible ASCII of at most 512 characters, in the order of the names where they are ASCII."""
    quoted = quote(name, safe="!\"#$&'()*+,/:;<=>?@[\\]^`|").replace("~", "%7E")
    if len(quoted) <= _LONGEST_ID:
        return quoted
    return f"{quoted[:_HASHED_HEAD]}~{hashlib.sha256(name.encode()).hexdigest()}"


def check_value(data: JSONValue) -> None:
    """Raise InvalidSecret for a value that is too long or too deep."""
    pointer = "/value" if isinstance(data, str) else "/data"
    if depth(data) > MAX_DEPTH:
        raise InvalidSecret("The value is nested too deep.", ((pointer, f"is nested more than {MAX_DEPTH} levels deep"),))
    try:
        size = len((data if isinstance(data, str) else dumps(data)).encode())
    except UnicodeEncodeError:
        raise InvalidSecret("The value is no Unicode text.", ((pointer, "holds half a character"),)) from None
    if size > MAX_VALUE_BYTES:
        raise InvalidSecret(f"The value has more than {MAX_VALUE_BYTES} bytes.", ((pointer, f"has {size} bytes"),))


def check_schema(schema: Schema) -> None:
    """Raise InvalidSecret for a schema that is too long: its patterns are compiled with each change."""
    size = len(dumps(msgspec.to_builtins(schema)).encode())
    if size > MAX_VALUE_BYTES:
        raise InvalidSecret(f"The schema has more than {MAX_VALUE_BYTES} bytes.", (("/schema", f"has {size} bytes"),))


def checked_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags, each once, in order. Raises InvalidSecret."""
    if len(tags) > MAX_TAGS or not all(0 < len(tag) <= MAX_TAG_CHARACTERS and tag.isprintable() for tag in tags):
        raise InvalidSecret(f"A secret has at most {MAX_TAGS} tags of 1 to {MAX_TAG_CHARACTERS} visible characters.", (("/tags", "too many or not visible"),))
    return tuple(dict.fromkeys(tags))


def checked_description(text: str) -> str:
    """A description. Raises InvalidSecret."""
    if len(text) > MAX_DESCRIPTION_CHARACTERS:
        raise InvalidSecret(f"A description has at most {MAX_DESCRIPTION_CHARACTERS} characters.", (("/description", "is too long"),))
    return text


def plain_bytes(data: JSONValue, schema: Schema | None) -> bytes:
    """What is sealed, as JSON; integers of any length stay as they are."""
    described: JSONObject = {"data": data}
    if schema is not None:
        described["schema"] = msgspec.to_builtins(schema)
    return dumps(described).encode()


def read_plain(plain: bytes) -> Plain:
    """What was sealed."""
    value = loads(plain)
    return Plain(value["data"], msgspec.convert(value["schema"], Schema) if "schema" in value else None)
