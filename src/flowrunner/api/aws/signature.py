"""What a request says about its own signature (Signature Version 4), and what can be told about that without the secret.

Two forms: the header ``Authorization: AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...``, and the presigned
form with ``X-Amz-*`` parameters in the query string. Pure: no clock, no key store. Codes and messages are AWS's own, as the
JSON protocols give them; where AWS accepts what is ambiguous, this refuses (decision 2026-11-21, signature rules).
"""

from __future__ import annotations

import email.utils
import hashlib
import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from flowrunner.api.aws.canonicalrequest import SIGNATURE_PARAMETER, Received, canonical_request, normalized_path, parameters
from flowrunner.api.aws.faults import AwsFault

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
SKEW_SECONDS = 300
LONGEST_EXPIRY_SECONDS = 604_800  # a week
SHOWN_CHARACTERS = 1000  # of what came, in a message

# Headers of which two would leave open which one counts.
SINGLE = frozenset(
    (b"authorization", b"host", b"date", b"content-type", b"content-length", b"x-amz-date", b"x-amz-target", b"x-amz-content-sha256", b"x-amz-security-token")
)
_HEADER_PARTS = ("Credential", "Signature", "SignedHeaders")
_QUERY_PARTS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
_OPTIONAL_QUERY_PARTS = ("X-Amz-Expires", "X-Amz-Security-Token")
_PRESIGNED = frozenset((b"X-Amz-Algorithm", SIGNATURE_PARAMETER))
_MOMENT = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_NAMES = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+(;[a-z0-9!#$%&'*+.^_`|~-]+)*")
_LOWER_ESCAPE = re.compile(rb"%(?:[a-f]|.[a-f])")
_HASH = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says: who signed what, when, for which service. Nothing of it is proven.

    `moment` is ISO 8601 as it is signed, `signed_at` the same in seconds since 1970 UTC; `expires` is how many seconds a presigned
    request holds, None for the header form; `token` is the session token of a temporary key.
    """

    access_key: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: bytes
    signature: str
    moment: str
    signed_at: int
    expires: int | None = None
    token: str = ""

    @property
    def scope(self) -> str:
        """The credential scope, which is part of what is signed."""
        return f"{self.date}/{self.region}/{self.service}/{self.terminator}"


def incomplete(message: str) -> AwsFault:
    """Something a signed request must have is not there, or cannot be read."""
    return AwsFault("IncompleteSignatureException", message)


def invalid(message: str) -> AwsFault:
    """The signature is not good for this request, here and now."""
    return AwsFault("InvalidSignatureException", message)


def mismatch() -> AwsFault:
    """The signature is another one than the secret gives."""
    return invalid(
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )


def missing_token() -> AwsFault:
    """The request is not signed at all."""
    return AwsFault("MissingAuthenticationTokenException", "Missing Authentication Token", status=403)


def unknown_key() -> AwsFault:
    """There is no such access key, or it was revoked, or its session token is another one."""
    return AwsFault("UnrecognizedClientException", "The security token included in the request is invalid.")


def expired_key() -> AwsFault:
    """The access key is one for a time that is over."""
    return AwsFault("ExpiredTokenException", "The security token included in the request is expired")


# --- reading


def read_claim(received: Received) -> Claim:
    """What the request claims; raises AwsFault if it claims nothing, too little, or two things at once."""
    double = received.repeated & SINGLE
    if double:
        raise invalid(f"The header {min(double).decode()} was sent more than once.")
    authorization = received.headers.get(b"authorization")
    presigned = received.query != b"" and any(name in _PRESIGNED for name, _ in parameters(received.query))
    if authorization is None:
        if not presigned:
            raise missing_token()
        return _from_query(received)
    if presigned:
        raise invalid("Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
    return _from_header(received, authorization.strip().decode("latin-1"))


def _from_header(received: Received, text: str) -> Claim:
    algorithm, _, rest = text.partition(" ")
    if not algorithm.startswith("AWS4-"):
        raise missing_token()
    parts: dict[str, str] = {}
    for part in rest.split(","):
        piece = part.strip(" \t")  # not every white space of Unicode
        name, equals, value = piece.partition("=")
        if not equals:
            raise incomplete(f"'{_shown(piece)}' not a valid key=value pair (missing equal-sign) in Authorization header: '{_shown(text)}'.")
        if name in parts:
            raise incomplete(f"Authorization header has the parameter '{_shown(name)}' more than once. Authorization={_shown(text)}")
        parts[name] = value
    missing = [f"Authorization header requires '{name}' parameter. " for name in _HEADER_PARTS if not parts.get(name)]
    moment = received.headers.get(b"x-amz-date")
    if moment is None and (date := received.headers.get(b"date")) is not None:
        moment = _of_date(date)
    if moment is None:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
    if missing or moment is None:
        raise incomplete(f"{''.join(missing)}Authorization={_shown(text)}")
    token = received.headers.get(b"x-amz-security-token", b"").decode("latin-1")
    return _claim(algorithm, parts["Credential"], parts["SignedHeaders"], signature=parts["Signature"], moment=moment.decode("latin-1"), token=token)


def _from_query(received: Received) -> Claim:
    parts: dict[str, str] = {}
    for raw_name, raw_value in parameters(received.query):
        name = raw_name.decode("latin-1")
        if name in _QUERY_PARTS or name in _OPTIONAL_QUERY_PARTS:
            if name in parts:
                raise incomplete(f"AWS query-string parameters include '{name}' more than once. Re-examine the query-string parameters.")
            parts[name] = raw_value.decode("latin-1")
    missing = [f"AWS query-string parameters must include '{name}'. " for name in _QUERY_PARTS if not parts.get(name)]
    if missing:
        raise incomplete(f"{''.join(missing)}Re-examine the query-string parameters.")
    for header in (b"x-amz-date", b"x-amz-security-token"):
        if header in received.headers:
            raise invalid(f"Found both query-string parameters of a presigned request and the HTTP header '{header.decode()}'.")
    expires = _expiry(parts["X-Amz-Expires"]) if "X-Amz-Expires" in parts else None
    return _claim(
        parts["X-Amz-Algorithm"],
        parts["X-Amz-Credential"],
        parts["X-Amz-SignedHeaders"],
        signature=parts["X-Amz-Signature"],
        moment=parts["X-Amz-Date"],
        expires=expires,
        token=parts.get("X-Amz-Security-Token", ""),
    )


def _claim(algorithm: str, credential: str, names: str, *, signature: str, moment: str, token: str, expires: int | None = None) -> Claim:
    signed_at = _seconds(moment)
    if signed_at is None:
        raise incomplete(f"Date must be in ISO-8601 'basic format'. Got '{_shown(moment)}'. See http://en.wikipedia.org/wiki/ISO_8601")
    if algorithm != ALGORITHM:
        raise incomplete(f"Unsupported AWS 'algorithm': '{_shown(algorithm)}' (only {ALGORITHM} for now). ")
    pieces = credential.split("/")
    if len(pieces) != 5 or not pieces[0]:
        raise incomplete(f"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{_shown(credential)}'")
    signed_headers = names.encode("latin-1")
    if not _NAMES.fullmatch(signed_headers):
        raise incomplete(f"SignedHeaders must be names of headers in lower case, separated by semicolons, got '{_shown(names)}'")
    return Claim(pieces[0], pieces[1], pieces[2], pieces[3], pieces[4], signed_headers, signature, moment, signed_at, expires, token)


def _shown(text: str) -> str:
    return text[:SHOWN_CHARACTERS]


def _expiry(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise incomplete("X-Amz-Expires should be a number of seconds that is not negative")
    if not 0 < int(text) <= LONGEST_EXPIRY_SECONDS:
        raise incomplete(f"X-Amz-Expires must be at least 1 and at most {LONGEST_EXPIRY_SECONDS} seconds, which is a week")
    return int(text)


@lru_cache(maxsize=1024)
def _seconds(moment: str) -> int | None:
    """Seconds since 1970 of ``20261121T093000Z``; None for anything else, such as a thirtieth of February."""
    if not _MOMENT.fullmatch(moment):
        return None
    try:
        parts = (int(moment[:4]), int(moment[4:6]), int(moment[6:8]), int(moment[9:11]), int(moment[11:13]), int(moment[13:15]))
        return int(datetime(*parts, tzinfo=UTC).timestamp())
    except ValueError:
        return None


def moment_of(seconds: int) -> str:
    """Seconds since 1970 UTC as Signature Version 4 writes them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _of_date(date: bytes) -> bytes:
    """The moment of a Date header, which may be ISO 8601 too; what cannot be read is returned as it is."""
    found = email.utils.parsedate_tz(date.decode("latin-1"))
    if found is None or _MOMENT.fullmatch(date.decode("latin-1")):
        return date
    try:
        return moment_of(int(email.utils.mktime_tz(found))).encode()
    except (ValueError, OverflowError, OSError):
        return date


# --- checks that need no secret


def check_time(claim: Claim, now_ms: int) -> None:
    """Refuse a request that was signed too long ago, or will be signed too far ahead; `now_ms` is milliseconds since 1970 UTC."""
    now = now_ms // 1000
    lasts = SKEW_SECONDS if claim.expires is None else claim.expires
    if claim.signed_at < now - lasts:
        window = f"{lasts // 60} min." if lasts % 60 == 0 else f"{lasts} s."
        raise invalid(f"Signature expired: {claim.moment} is now earlier than {moment_of(now - lasts)} ({moment_of(now)} - {window})")
    if claim.signed_at > now + SKEW_SECONDS:
        window = f"{SKEW_SECONDS // 60} min."
        raise invalid(f"Signature not yet current: {claim.moment} is still later than {moment_of(now + SKEW_SECONDS)} ({moment_of(now)} + {window})")


def check_scope(claim: Claim, regions: Collection[str] | None, services: Collection[str]) -> None:
    """Refuse a credential for another region, service or day; `regions` None: any."""
    wrong = []
    if regions is not None and claim.region not in regions:
        wrong.append(f"Credential should be scoped to a valid region, not '{_shown(claim.region)}'. ")
    if claim.service not in services:
        wrong.append(f"Credential should be scoped to correct service: '{min(services)}'. ")
    if claim.terminator != TERMINATOR:
        wrong.append(f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{_shown(claim.terminator)}'. ")
    day = claim.moment[:8]
    if claim.date != day:
        wrong.append(
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{_shown(claim.date)}' != '{day}', from '{claim.moment}'."
        )
    if wrong:
        raise invalid("".join(wrong))


def check_headers(claim: Claim, received: Received) -> None:
    """Refuse a request of which something that matters is not signed, or something that is signed did not come."""
    signed = set(claim.signed_headers.split(b";"))
    if b"host" not in signed:
        raise invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    for name in received.headers:
        if name not in signed and name.startswith(b"x-amz-"):
            raise invalid(f"'{name.decode('latin-1')}' must be a 'SignedHeader' in the AWS Authorization.")
    if claim.expires is None and b"x-amz-date" not in received.headers and b"authorization" in received.headers and b"date" not in signed:
        raise invalid("'Date' must be a 'SignedHeader' in the AWS Authorization.")
    for name in signed:
        if name not in received.headers:
            raise invalid(f"'{name.decode()}' is named as a SignedHeader, but it does not exist in the HTTP request.")
    if received.path != normalized_path(received.path):
        raise invalid("The path of a signed request has no empty segments and no '.' or '..'.")
    if received.query and _LOWER_ESCAPE.search(received.query):
        raise invalid("The escapes in the query of a signed request are in upper case, such as %2F.")
    declared = received.headers.get(b"x-amz-content-sha256")
    if declared is not None and not _HASH.fullmatch(declared):
        shown = _shown(declared.decode("latin-1"))
        raise invalid(
            f"The header x-amz-content-sha256 must be the SHA-256 of the body in hexadecimal digits, not '{shown}': unsigned and chunked bodies are not taken."
        )


# --- with the secret


def signing_key(secret: str, claim: Claim) -> bytes:
    """The key of this day, region and service, derived from the secret access key."""
    key = f"AWS4{secret}".encode()
    for part in (claim.date, claim.region, claim.service, claim.terminator):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    return key


def string_to_sign(claim: Claim, received: Received, body_hash: bytes) -> bytes:
    """What the signing key signs: algorithm, moment, scope, and the hash of the canonical request."""
    request = hashlib.sha256(canonical_request(received, claim.signed_headers, body_hash)).hexdigest()
    return f"{ALGORITHM}\n{claim.moment}\n{claim.scope}\n{request}".encode("latin-1")


def signature_of(key: bytes, text: bytes) -> str:
    """The signature in hexadecimal digits."""
    return hmac.digest(key, text, "sha256").hex()


def matches(claim: Claim, received: Received, body_hash: bytes, key: bytes) -> bool:
    """Whether the request was signed with this key and its body has this hash, in time that does not tell how much of it is right."""
    right = hmac.compare_digest(signature_of(key, string_to_sign(claim, received, body_hash)).encode(), claim.signature.encode("latin-1"))
    declared = received.headers.get(b"x-amz-content-sha256", body_hash)
    return hmac.compare_digest(declared, body_hash) and right
