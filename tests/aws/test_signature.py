"""What a signed request says, and what is refused about it, in AWS's words."""

from __future__ import annotations

import datetime as dt

import pytest
from awssigner import ACCESS_KEY, HOST, NOW_MS, Key, Keys, changed, make_signed, signed, taken

from flowrunner.api.aws import signature
from flowrunner.api.aws.canonicalrequest import receive
from flowrunner.api.aws.faults import AwsFault
from flowrunner.api.aws.signature import read_claim
from flowrunner.api.aws.signingkeys import KEPT_SCOPES, SigningKeys
from flowrunner.testing.clock import ManualClock

CREDENTIAL = f"{ACCESS_KEY}/20261121/us-east-1/states/aws4_request"
AUTHORIZATION = f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)
BASIC_FORMAT = "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601"


async def refused(scope, authenticator=None, body=b"{}"):
    with pytest.raises(AwsFault) as caught:
        await taken(authenticator or make_signed(), scope, body)
    return caught.value.aws_code, caught.value.message, caught.value.http_status


def authorization(old="", new="", **headers):
    """A signed request whose Authorization was altered in this place."""
    scope = signed()
    value = dict(scope["headers"])[b"authorization"].decode()
    assert old in value
    return changed(scope, authorization=value.replace(old, new), **headers)


REFUSED = [
    ("not signed", changed(signed(), authorization=None), "MissingAuthenticationTokenException", "Missing Authentication Token"),
    ("another scheme", changed(signed(), authorization="Bearer abc"), "MissingAuthenticationTokenException", "Missing Authentication Token"),
    ("empty", changed(signed(), authorization=""), "MissingAuthenticationTokenException", "Missing Authentication Token"),
    (
        "nothing in it",
        changed(signed(), authorization="AWS4-HMAC-SHA256 A=b", x_amz_date=None),
        "IncompleteSignatureException",
        ("Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a "
        "'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 A=b"),
    ),
    (
        "no equals sign",
        changed(signed(), authorization="AWS4-HMAC-SHA256 Credential=a, b"),
        "IncompleteSignatureException",
        "'b' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 Credential=a, b'.",
    ),
    (
        "a parameter twice",
        changed(signed(), authorization="AWS4-HMAC-SHA256 Signature=a, Signature=b"),
        "IncompleteSignatureException",
        "Authorization header has the parameter 'Signature' more than once. Authorization=AWS4-HMAC-SHA256 Signature=a, Signature=b",
    ),
    (
        "Signature Version 4A",
        authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        "IncompleteSignatureException",
        "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' (only AWS4-HMAC-SHA256 for now). ",
    ),
    ("not a date", changed(signed(), x_amz_date="201"), "IncompleteSignatureException", BASIC_FORMAT.format("201")),
    ("no such day", changed(signed(), x_amz_date="20260230T000000Z"), "IncompleteSignatureException", BASIC_FORMAT.format("20260230T000000Z")),
    ("no such date", changed(signed(), x_amz_date=None, date="yesterday"), "IncompleteSignatureException", BASIC_FORMAT.format("yesterday")),
    (
        "four parts",
        authorization("/aws4_request", ""),
        "IncompleteSignatureException",
        ("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
        f"got '{CREDENTIAL.removesuffix('/aws4_request')}'"),
    ),
    (
        "upper case in the list",
        authorization("host;", "Host;"),
        "IncompleteSignatureException",
        "SignedHeaders must be names of headers in lower case, separated by semicolons, got 'content-type;Host;x-amz-date;x-amz-target'",
    ),
    (
        "two Authorizations",
        changed(signed(), authorization=[AUTHORIZATION, AUTHORIZATION]),
        "InvalidSignatureException",
        "The header authorization was sent more than once.",
    ),
    ("two targets", changed(signed(), x_amz_target=["a", "b"]), "InvalidSignatureException", "The header x-amz-target was sent more than once."),
    ("two hosts", changed(signed(), host=[HOST, HOST]), "InvalidSignatureException", "The header host was sent more than once."),
    (
        "header and query",
        {**signed(), "query_string": b"X-Amz-Algorithm=AWS4-HMAC-SHA256"},
        "InvalidSignatureException",
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    ),
    (
        "a signature in header and query",
        {**signed(), "query_string": b"X-Amz-Signature=0"},
        "InvalidSignatureException",
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    ),
    (
        "an escape in lower case",
        {**signed(url=f"http://{HOST}/?a=%2F"), "query_string": b"a=%2f"},
        "InvalidSignatureException",
        "The escapes in the query of a signed request are in upper case, such as %2F.",
    ),
    (
        "a name of a header in upper case",
        {**signed(), "headers": [(name.title(), value) for name, value in signed()["headers"]]},
        "InvalidSignatureException",
        "The names of headers are in lower case.",
    ),
    (
        "host is not signed",
        authorization("host;", ""),
        "InvalidSignatureException",
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "target is not signed",
        authorization(";x-amz-target", ""),
        "InvalidSignatureException",
        "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "date is not signed",
        authorization(";x-amz-date", ""),
        "InvalidSignatureException",
        "'x-amz-date' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "an added header",
        changed(signed(), x_amz_security_token="t"),
        "InvalidSignatureException",
        "'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "plain Date is not signed",
        authorization(";x-amz-date", "", x_amz_date=None, date="20261121T120000Z"),
        "InvalidSignatureException",
        "'Date' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    (
        "a signed header is away",
        changed(signed(), content_type=None),
        "InvalidSignatureException",
        "'content-type' is named as a SignedHeader, but it does not exist in the HTTP request.",
    ),
    (
        "region, service, end and day",
        authorization("20261121/us-east-1/states/aws4_request", "20261120/eu-west-1/dynamodb/aws5_request"),
        "InvalidSignatureException",
        ("Credential should be scoped to a valid region, not 'eu-west-1'. Credential should be scoped to correct service: 'states'. "
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. "
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261120' != '20261121', from '20261121T120000Z'."),
    ),
    ("another secret", signed(secret="other"), "InvalidSignatureException", MISMATCH),
    ("another body", signed(body=b"{ }"), "InvalidSignatureException", MISMATCH),
    ("another target", changed(signed(), x_amz_target="AWSStepFunctions.DeleteActivity"), "InvalidSignatureException", MISMATCH),
    ("another host", changed(signed(), host="evil.example"), "InvalidSignatureException", MISMATCH),
    ("host without its port", changed(signed(), host="127.0.0.1"), "InvalidSignatureException", MISMATCH),
    ("an added parameter", {**signed(), "query_string": b"a=b"}, "InvalidSignatureException", MISMATCH),
    ("short signature", authorization("Signature=", "Signature=0"), "InvalidSignatureException", MISMATCH),
    ("odd signature", changed(signed(), authorization=AUTHORIZATION.replace("0" * 64, "é").encode("latin-1")), "InvalidSignatureException", None),
    (
        "a path with dots",
        {**signed(), "raw_path": b"/a/../"},
        "InvalidSignatureException",
        "The path of a signed request has no empty segments and no '.' or '..'.",
    ),
    (
        "unsigned body",
        signed(headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}),
        "InvalidSignatureException",
        "The header x-amz-content-sha256 must be the SHA-256 of the body in hexadecimal digits, not 'UNSIGNED-PAYLOAD': unsigned and chunked bodies are not taken.",
    ),
    (
        "chunked body",
        signed(headers={"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}),
        "InvalidSignatureException",
        ("The header x-amz-content-sha256 must be the SHA-256 of the body in hexadecimal digits, not 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD': "
        "unsigned and chunked bodies are not taken."),
    ),
    ("hash of another body", signed(headers={"x-amz-content-sha256": "0" * 64}), "InvalidSignatureException", MISMATCH),
    ("nobody's key", signed(key="AKIANOBODY"), "UnrecognizedClientException", "The security token included in the request is invalid."),
    ("a token of nobody", signed(token="made up"), "UnrecognizedClientException", "The security token included in the request is invalid."),
]  # fmt: skip


@pytest.mark.parametrize(("scope", "code", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_refused(scope, code, message):
    """Each thing that can be wrong has AWS's code and text, and its status."""
    got, told, status = await refused(scope)
    assert got == code
    assert message in (told, None)
    assert status == (403 if code == "MissingAuthenticationTokenException" else 400)


async def test_header_form():
    """What botocore signs in a header is taken, with a hash of the body, a query string and a Date of its own as well."""
    for scope in (
        signed(),
        signed(headers={"x-amz-content-sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}),
        signed(url=f"http://{HOST}/?b=%2F&a=1&a=0"),
        signed(headers={"date": "any"}),
        signed(headers={"x-amz-more": "a   b"}),
        signed(url="http://sync-localhost:8080/", host="sync-localhost:8080") | {"path": "/", "raw_path": b"/"},
        signed(url="http://example.com/", host="example.com") | {"path": "/", "raw_path": b"/"},
    ):
        assert (await taken(make_signed(), scope)).account == "111111111111"


async def test_authorization_in_another_layout():
    """Spaces and order of the parameters do not matter."""
    scope = signed()
    algorithm, _, rest = dict(scope["headers"])[b"authorization"].decode().partition(" ")
    parts = [part.strip() for part in rest.split(",")]
    for layout in (",".join(parts), ",   ".join(reversed(parts)), ", ".join((parts[1], parts[0], parts[2])) + " "):
        assert await taken(make_signed(), changed(scope, authorization=f"{algorithm} {layout}"))


async def test_any_region():
    """A server may take credentials for any region; for other services only those it is given."""
    with pytest.raises(AwsFault, match="valid region"):
        await taken(make_signed(), signed(region="eu-west-1"))
    assert await taken(make_signed(regions=None), signed(region="eu-west-1"))
    assert await taken(make_signed(services={"states", "events"}), signed(service="events"))


SKEWS = [
    (0, None),
    (300, None),
    (301, "Signature expired: 20261121T120000Z is now earlier than 20261121T120001Z (20261121T120501Z - 5 min.)"),
    (-300, None),
    (-301, "Signature not yet current: 20261121T120000Z is still later than 20261121T115959Z (20261121T115459Z + 5 min.)"),
]


@pytest.mark.parametrize(("seconds", "message"), SKEWS)
async def test_skew(seconds, message):
    """Five minutes to either side are allowed, a second more is not."""
    authenticator = make_signed(clock=ManualClock(NOW_MS + seconds * 1000))
    if message is None:
        assert await taken(authenticator, signed())
    else:
        assert await refused(signed(), authenticator) == ("InvalidSignatureException", message, 400)


async def test_around_midnight():
    """The day of the scope is the day of the signature, not the server's."""
    late = dt.datetime(2026, 11, 21, 23, 59, 59, tzinfo=dt.UTC)
    authenticator = make_signed(clock=ManualClock(int(late.timestamp()) * 1000 + 2000))
    assert await taken(authenticator, signed(at=late))
    assert await taken(authenticator, signed(at=late + dt.timedelta(seconds=1)))


# --- presigned

EXPIRIES = [
    (60, 60, None),
    (60, 61, "Signature expired: 20261121T120000Z is now earlier than 20261121T120001Z (20261121T120101Z - 1 min.)"),
    (90, 91, "Signature expired: 20261121T120000Z is now earlier than 20261121T120001Z (20261121T120131Z - 90 s.)"),
    (604_800, 604_800, None),
    (604_800, -301, "Signature not yet current: 20261121T120000Z is still later than 20261121T115959Z (20261121T115459Z + 5 min.)"),
    (604_801, 0, "X-Amz-Expires must be at least 1 and at most 604800 seconds, which is a week"),
    (0, 0, "X-Amz-Expires must be at least 1 and at most 604800 seconds, which is a week"),
    (-1, 0, "X-Amz-Expires should be a number of seconds that is not negative"),
    ("1e3", 0, "X-Amz-Expires should be a number of seconds that is not negative"),
]


@pytest.mark.parametrize(("expires", "later", "message"), EXPIRIES)
async def test_presigned(expires, later, message):
    """A presigned request holds as long as it says, a week at most."""
    authenticator = make_signed(clock=ManualClock(NOW_MS + later * 1000))
    scope = signed(expires=expires)
    assert b"authorization" not in dict(scope["headers"])
    if message is None:
        assert await taken(authenticator, scope)
    else:
        assert (await refused(scope, authenticator))[1] == message


async def test_presigned_without_an_expiry():
    """It holds for as long as any other."""
    scope = signed(expires=60)
    without = b"&".join(part for part in scope["query_string"].split(b"&") if not part.startswith(b"X-Amz-Expires"))
    assert (await refused({**scope, "query_string": without}))[1] == MISMATCH
    late = make_signed(clock=ManualClock(NOW_MS + 301_000))
    assert "5 min" in (await refused({**scope, "query_string": without}, late))[1]


async def test_presigned_must_be_whole():
    """What a presigned request lacks is named; what it has twice, or in a header too, is refused."""
    scope = signed(expires=60)
    bare = {**scope, "query_string": b"X-Amz-Algorithm=AWS4-HMAC-SHA256"}
    assert await refused(bare) == (
        "IncompleteSignatureException",
        (
            "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-Signature'. "
            "AWS query-string parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters must include 'X-Amz-Date'. "
            "Re-examine the query-string parameters."
        ),
        400,
    )
    for twice in (b"X-Amz-Signature=0", b"X%2dAmz-Date=20261121T120000Z"):
        assert "more than once" in (await refused({**scope, "query_string": scope["query_string"] + b"&" + twice}))[1]
    for name in ("x_amz_date", "x_amz_security_token"):
        assert "presigned request and the HTTP header" in (await refused(changed(scope, **{name: "x"})))[1]
    assert (await refused(scope, body=b"other"))[1] == MISMATCH
    assert (await refused({**scope, "query_string": scope["query_string"] + b"&more=1"}))[1] == MISMATCH


# --- keys


async def test_temporary_key():
    """A temporary key needs its session token, in either form, and ends."""
    keys = Keys({ACCESS_KEY: Key(session_token="tok+/=", expires_at=NOW_MS + 60_000)})
    clock = ManualClock(NOW_MS)
    authenticator = make_signed(keys, clock)
    assert await taken(authenticator, signed(token="tok+/="))
    assert await taken(authenticator, signed(token="tok+/=", expires=100))
    for wrong in (signed(), signed(token="tok"), signed(token="other", expires=100)):
        assert (await refused(wrong, authenticator))[0] == "UnrecognizedClientException"
    clock.jump(60)
    assert await refused(signed(token="tok+/="), authenticator) == ("ExpiredTokenException", "The security token included in the request is expired", 400)


async def test_a_revoked_key_is_an_unknown_one():
    """Who has a revoked key learns no more than who made one up; nothing of it is kept."""
    keys = Keys({ACCESS_KEY: Key()})
    authenticator = make_signed(keys)
    assert await taken(authenticator, signed())
    keys[ACCESS_KEY] = Key(revoked=True)
    revoked = await refused(signed(), authenticator)
    del keys[ACCESS_KEY]
    assert await refused(signed(), authenticator) == revoked
    assert len(authenticator._keys) == 2
    authenticator.forget(ACCESS_KEY)
    assert len(authenticator._keys) == 1  # the decoy's


async def test_a_new_secret_counts_at_once():
    """A key id whose secret has changed is checked with the new one."""
    keys = Keys({ACCESS_KEY: Key()})
    authenticator = make_signed(keys)
    assert await taken(authenticator, signed())
    keys[ACCESS_KEY] = Key(secret="new")
    assert (await refused(signed(), authenticator))[1] == MISMATCH
    assert await taken(authenticator, signed(secret="new"))


def test_derived_keys_are_bounded():
    """Keys of many access keys and days are not all kept."""
    keys = SigningKeys(kept=3)
    for day in range(10, 30):
        for access_key in "abcde":
            text = f"AWS4-HMAC-SHA256 Credential={access_key}/202601{day}/r/states/aws4_request, SignedHeaders=host, Signature=0"
            claim = read_claim(receive(b"POST", b"/", b"", [(b"authorization", text.encode()), (b"x-amz-date", b"20260101T000000Z")]))
            assert keys.get(access_key, "s", claim) == keys.get(access_key, "s", claim)
    assert len(keys) == 3
    assert all(len(scopes) <= KEPT_SCOPES for _, scopes in keys._derived.values())


async def test_unknown_key_costs_the_same_work(monkeypatch):
    """For a key that does not exist the same HMACs are computed as for a wrong signature."""
    counted = []
    real = signature.hmac.digest
    monkeypatch.setattr(signature.hmac, "digest", lambda *parts: counted.append(1) or real(*parts))
    authenticator = make_signed()
    work = []
    for scope in (signed(secret="wrong"), signed(key="AKIANOBODY"), signed(secret="wrong"), signed(key="AKIASOMEBODY")):
        counted.clear()
        await refused(scope, authenticator)
        work.append(len(counted))
    assert work == [5, 5, 1, 1]


def test_no_secret_in_a_text():
    """The secret that stands in for unknown keys is not shown."""
    authenticator = make_signed(randomness=lambda count: b"\xab" * count)
    assert "abab" not in repr(authenticator._decoy)


async def test_the_use_of_a_key_is_told():
    """Once a request is proven, and only then."""
    told = []

    async def used(key):
        told.append(key)

    authenticator = make_signed(used=used)
    await refused(signed(secret="another"), authenticator)
    await refused(signed(key="AKIAUNKNOWN"), authenticator)
    assert told == []
    await taken(authenticator, signed())
    assert told == [ACCESS_KEY]
