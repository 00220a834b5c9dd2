"""The canonical form of a request, which is what Signature Version 4 signs. Pure: bytes in, bytes out.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, for services other than S3:
the path is normalized and encoded once more than it is on the wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

SIGNATURE_PARAMETER = b"X-Amz-Signature"
_UNRESERVED = re.compile(rb"[A-Za-z0-9_.~-]*")


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came over the wire.

    `path` and `query` are the bytes of the request line; `headers` has names in lower case, and several values of one name
    joined by commas in the order in which they came; `repeated` are the names that came more than once.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    repeated: frozenset[bytes] = frozenset()


def receive(method: bytes, path: bytes, query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Received:
    """A request from its parts, headers in the order in which they came."""
    together: dict[bytes, bytes] = {}
    repeated: set[bytes] = set()
    for given, value in headers:
        name = given.lower()
        if name in together:
            together[name] = canonical_value(together[name]) + b"," + canonical_value(value)
            repeated.add(name)
        else:
            together[name] = value
    return Received(method, path, query, together, frozenset(repeated))


def canonical_value(value: bytes) -> bytes:
    """A header's value without white space around it; white space within is one space, so no value can begin a line."""
    return b" ".join(value.split())


def canonical_headers(headers: Mapping[bytes, bytes], names: Iterable[bytes]) -> bytes:
    """The lines of these headers, in this order; each ends with a line feed. Raises KeyError for one that did not come."""
    return b"".join([b"%b:%b\n" % (name, canonical_value(headers[name])) for name in names])


def normalized_path(path: bytes) -> bytes:
    """An absolute path without empty segments, ``.`` and ``..``; a slash at its end stays."""
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    return b"/" + b"/".join(kept) + (b"/" if kept and path.endswith(b"/") else b"")


def canonical_path(path: bytes) -> bytes:
    """The path of a request line, normalized, each byte encoded once more: ``%2F`` becomes ``%252F``."""
    return b"/" if path == b"/" else quote_from_bytes(normalized_path(path), safe="/~").encode()


def parameters(query: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values of a query string, decoded, in the order in which they came. A plus sign is a plus sign."""
    found = []
    for part in query.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            found.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return found


def canonical_query(query: bytes) -> bytes:
    """The query string without the signature, each part decoded and encoded again, sorted by encoded name, then by value.

    A plus sign that came as such stays one, so it is never the same as ``%2B`` or ``%20``: what it means depends on who reads it.
    """
    if not query:
        return b""
    pairs = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        encoded = _encoded(name)
        if part and encoded != SIGNATURE_PARAMETER:
            pairs.append((encoded, _encoded(value)))
    return b"&".join([b"%b=%b" % pair for pair in sorted(pairs)])


def _encoded(part: bytes) -> bytes:
    if _UNRESERVED.fullmatch(part):
        return part
    return b"+".join([quote_from_bytes(unquote_to_bytes(piece), safe="").encode() for piece in part.split(b"+")])


def canonical_request(received: Received, signed_headers: bytes, body_hash: bytes) -> bytes:
    """The text whose hash is signed; `signed_headers` as the signer listed them, `body_hash` in hexadecimal digits.

    Raises KeyError for a signed header that did not come.
    """
    lines = canonical_headers(received.headers, signed_headers.split(b";"))
    return b"\n".join((received.method, canonical_path(received.path), canonical_query(received.query), lines, signed_headers, body_hash))
