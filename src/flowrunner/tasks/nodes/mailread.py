"""A mail that was received, as JSON."""

from __future__ import annotations

import base64
import email
import email.parser
import email.policy
import re
from contextlib import suppress
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser

from flowrunner.jsonvalue import JSONObject

MOST_HEADER = 4_000  # characters of one header,
MOST_OF_PARTS = 1_000  # and of those of which each part has its own
_BLANKS = re.compile(r"\s+")
_SILENT = frozenset({"script", "style", "head", "title"})


class _Policy(email.policy.EmailPolicy):
    """Headers are cut: the library's readers of them take the square of their length, and hold up everybody meanwhile."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """A header as it stands in a mail, cut."""
        name, value = super().header_source_parse(sourcelines)
        return name, value[: MOST_OF_PARTS if name.lower().startswith("content-") else MOST_HEADER]


class _Plain(_Policy):
    """As a mail without parts."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """A header; those that describe parts are empty."""
        name, value = super().header_source_parse(sourcelines)
        return name, "" if name.lower().startswith("content-") else value


_POLICY, _PLAIN = _Policy(), _Plain()
_BROKEN = (RecursionError, ValueError, LookupError, AttributeError, TypeError, AssertionError)  # what the library meets in hostile mails


def read_mail(content: bytes, *, body: bool, preview: int) -> JSONObject:
    """What the mail says of itself; with `preview` characters of its text, with `body` all of it and its files. Never raises for a broken mail."""
    try:
        return _read(email.message_from_bytes(content, policy=_POLICY), body=body, preview=preview)
    except _BROKEN:  # parts in parts in parts, or a media type that their reader cannot follow: there are headers, at least
        message = email.parser.BytesHeaderParser(policy=_PLAIN).parsebytes(content)
        message.set_payload("")
        return _read(message, body=body, preview=preview)


def _read(message: Message, *, body: bool, preview: int) -> JSONObject:
    found: JSONObject = {name.replace("-", "_"): _header(message, name) for name in ("message-id", "from", "to", "cc", "subject", "reply-to")}
    found["date"] = _moment(_header(message, "date"))
    if not body and not preview:
        return found
    plain, html = _part(message, "plain"), _part(message, "html")
    if preview:
        found["preview"] = _BLANKS.sub(" ", plain if plain is not None else _shown(html or "")).strip()[:preview]
    if body:
        found |= {"body": plain, "html": html, "attachments": _attachments(message)}
    return found


def _header(message: Message, name: str) -> str:
    try:
        value = str(message.get(name, ""))
    except _BROKEN:
        return ""
    return value.encode("utf-8", "replace").decode()


def _moment(value: str) -> str | None:
    try:
        return parsedate_to_datetime(value).isoformat()
    except (ValueError, IndexError, TypeError, OverflowError):
        return None


def _part(message: Message, kind: str) -> str | None:
    try:
        part = message.get_body((kind,)) if isinstance(message, EmailMessage) else None
        return None if part is None else _text(part)
    except _BROKEN:
        return None


def _text(part: Message) -> str:
    content = part.get_payload(decode=True)
    found = content if isinstance(content, bytes) else b""
    try:
        return found.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:  # a charset that nobody knows
        return found.decode("utf-8", "replace")


def _attachments(message: Message) -> list[JSONObject]:
    found: list[JSONObject] = []
    for part in message.walk():
        name = part.get_filename()
        if part.is_multipart() or (name is None and part.get_content_disposition() != "attachment"):
            continue
        payload = part.get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else b""
        encoded = base64.b64encode(content).decode()
        found.append({"filename": name or "", "content_type": part.get_content_type(), "size": len(content), "content_base64": encoded})
    return found


class _Reader(HTMLParser):
    """Collects the text that a reader of a page would see."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._silent += tag in _SILENT

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in _SILENT and self._silent > 0

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.texts.append(data)


def _shown(html: str) -> str:
    reader = _Reader()
    with suppress(AssertionError):  # the library's word for a declaration that is none; what came before it is shown
        reader.feed(html)
    return " ".join(reader.texts)
