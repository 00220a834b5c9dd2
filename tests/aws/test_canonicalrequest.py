"""The canonical form of a request: a table of our own, AWS's test suite when it is at hand, and botocore on odd requests."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote, urlencode

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.api.aws.canonicalrequest import canonical_headers, canonical_path, canonical_query, canonical_request, normalized_path, receive
from flowrunner.api.aws.signature import read_claim, signature_of, signing_key, string_to_sign

ROOT = Path(__file__).parents[2]

PATHS = [
    (b"/", b"/"),
    (b"", b"/"),
    (b"//", b"/"),
    (b"/./", b"/"),
    (b"/a", b"/a"),
    (b"/a/", b"/a/"),
    (b"//a//b//", b"/a/b/"),
    (b"/a/../b", b"/b"),
    (b"/a/b/../..", b"/"),
    (b"/../a", b"/a"),
    (b"/./a", b"/a"),
    (b"/a b/", b"/a%20b/"),
    (b"/a%20b", b"/a%2520b"),
    (b"/a%2Fb", b"/a%252Fb"),
    (b"/-._~0aZ", b"/-._~0aZ"),
    ("/ሴ".encode(), b"/%E1%88%B4"),
    (b"/@connections/L0SM9cOFvHcCIhw%3D", b"/%40connections/L0SM9cOFvHcCIhw%253D"),
]


@pytest.mark.parametrize(("path", "canonical"), PATHS)
def test_path(path, canonical):
    """A path is normalized, and encoded once more than it came."""
    assert canonical_path(path) == canonical


QUERIES = [
    (b"", b""),
    (b"a=b", b"a=b"),
    (b"a", b"a="),
    (b"=b", b"=b"),
    (b"a=", b"a="),
    (b"&a=b&&", b"a=b"),
    (b"b=1&a=2", b"a=2&b=1"),
    (b"a=2&a=1", b"a=1&a=2"),
    (b"a=b=c", b"a=b%3Dc"),
    (b"Param2=v&Param1=v", b"Param1=v&Param2=v"),
    (b"a-b=1&a=2", b"a=2&a-b=1"),  # pairs are sorted by name, not as texts: "-" comes before "="
    (b"a=%7e%2d", b"a=~-"),
    (b"a=%2f/", b"a=%2F%2F"),
    (b"a=%zz", b"a=%25zz"),
    (b"a=b+c", b"a=b+c"),
    (b"a=b%2Bc", b"a=b%2Bc"),
    (b"a=b%20c", b"a=b%20c"),
    ("ሴ=bar".encode(), b"%E1%88%B4=bar"),
    (b"z=1&X-Amz-Signature=ab&X-Amz-Date=d", b"X-Amz-Date=d&z=1"),
    (b"z=1&X%2DAmz-Signature=ab", b"z=1"),
    (b"x-amz-signature=ab", b"x-amz-signature=ab"),
]


@pytest.mark.parametrize(("query", "canonical"), QUERIES)
def test_query(query, canonical):
    """Parameters are decoded, encoded in one way, sorted; the signature is left out; what a plus sign means is left open."""
    assert canonical_query(query) == canonical


HEADERS = [
    ([(b"Host", b"h")], b"host:h\n"),
    ([(b"A", b"  b  c ")], b"a:b c\n"),
    ([(b"A", b'"b   c"')], b'a:"b c"\n'),
    ([(b"a", b"1"), (b"b", b"x"), (b"A", b"2"), (b"a", b" 0 ")], b"a:1,2,0\nb:x\n"),
    ([(b"a", b"")], b"a:\n"),
    ([(b"a", b"v1\r\n  v2")], b"a:v1 v2\n"),
    ([(b"a", b"1\nhost:evil")], b"a:1 host:evil\n"),
    ([(b"a", b"AbC")], b"a:AbC\n"),
]


@pytest.mark.parametrize(("headers", "canonical"), HEADERS)
def test_headers(headers, canonical):
    """Names are lower case, values are trimmed, several of a name are joined in order; no value begins a line."""
    received = receive(b"POST", b"/", b"", headers)
    assert canonical_headers(received.headers, sorted(received.headers)) == canonical


def test_repeated_headers_are_known():
    """Which names came more than once is told, whatever their case."""
    assert receive(b"GET", b"/", b"", [(b"A", b"1"), (b"b", b"1"), (b"a", b"2")]).repeated == {b"a"}


def test_whole_request():
    """Method, path, query, headers, their names and the hash stand on lines of their own."""
    received = receive(b"POST", b"/", b"b=1&a=2", [(b"host", b"h:1"), (b"x-amz-date", b"d"), (b"user-agent", b"u")])
    assert canonical_request(received, b"host;x-amz-date", b"00") == b"POST\n/\na=2&b=1\nhost:h:1\nx-amz-date:d\n\nhost;x-amz-date\n00"


def test_signing_key_of_the_documentation():
    """The example of AWS's documentation gives its key."""
    headers = [
        (b"host", b"h"),
        (b"x-amz-date", b"20120215T000000Z"),
        (b"authorization", b"AWS4-HMAC-SHA256 Credential=k/20120215/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0"),
    ]
    claim = read_claim(receive(b"GET", b"/", b"", headers))
    key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", claim)
    assert key.hex() == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"


# --- AWS's own suite


def suite():
    folder = Path(os.environ.get("FLOWRUNNER_CONFORMANCE", ROOT.parent / "shared" / "conformance")) / "aws4_testsuite"
    if not folder.is_dir():
        pytest.skip(f"AWS's test suite is not in {folder}; set FLOWRUNNER_CONFORMANCE")
    for request in sorted(folder.rglob("*.req")):
        yield request.stem, {kind: request.with_suffix(f".{kind}").read_bytes().replace(b"\r", b"") for kind in ("sreq", "creq", "sts", "authz")}


def parsed(text):
    head, _, body = text.partition(b"\n\n")
    line, *rest = re.sub(rb"\n[ \t]+", b" ", head).split(b"\n")
    method, target = line.rsplit(b" ", 1)[0].split(b" ", 1)
    path, _, query = target.partition(b"?")
    headers = [tuple(header.split(b":", 1)) for header in rest if header]
    return receive(method, path, query, headers), body


def test_aws_suite():
    """Canonical request, string to sign and signature of every case of AWS's suite."""
    for name, case in suite():
        received, body = parsed(case["sreq"])
        claim = read_claim(received)
        body_hash = hashlib.sha256(body).hexdigest().encode()
        assert canonical_request(received, claim.signed_headers, body_hash) == case["creq"], name
        text = string_to_sign(claim, received, body_hash)
        assert text == case["sts"], name
        assert signature_of(signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", claim), text).encode() == case["authz"].rpartition(b"=")[2].strip(), name


# --- botocore as the other side

SEGMENTS = st.text(min_size=1, max_size=8).filter(lambda text: text not in (".", "..") and text.isprintable())
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
NAMES = st.from_regex(r"\Ax-amz-[a-z0-9]{1,6}\Z")


@given(
    st.lists(SEGMENTS, max_size=4), st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=4), st.dictionaries(NAMES, VALUES, max_size=4), st.binary(max_size=20)
)
def test_botocore_signs_odd_requests_as_we_read_them(segments, query, headers, body):
    """Whatever path, parameters and header values botocore signs come out the same here."""
    path = "/" + "/".join(quote(segment, safe="-_.~") for segment in segments)
    wire_query = urlencode(query, quote_via=quote, safe="-_.~")
    given_headers = {name: value for name, value in headers.items() if name != "x-amz-date"}
    request = botocore.awsrequest.AWSRequest("PUT", f"http://h.example:81{path}?{wire_query}".rstrip("?"), given_headers, body)
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials("AK", "secret"), "execute-api", "r-1")
    signer.add_auth(request)
    wire = [(name.encode(), value.encode()) for name, value in request.headers.items()]
    received = receive(b"PUT", path.encode(), wire_query.encode(), [*wire, (b"host", b"h.example:81")])
    claim = read_claim(received)
    text = string_to_sign(claim, received, hashlib.sha256(body).hexdigest().encode())
    assert signature_of(signing_key("secret", claim), text) == claim.signature


@given(st.lists(st.sampled_from([b"", b".", b"..", b"a", b"%2e", b"b c"]), max_size=6))
def test_normalizing_twice_changes_nothing(segments):
    """A normalized path is one, and absolute."""
    path = normalized_path(b"/" + b"/".join(segments))
    assert normalized_path(path) == path
    assert path.startswith(b"/")
