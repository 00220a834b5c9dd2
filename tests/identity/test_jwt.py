"""JSON Web Tokens: what is let in, and everything that is not."""

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from flowrunner.errors import ConfigurationError, Unauthenticated
from flowrunner.identity.entries import User
from flowrunner.identity.jwt import ForeignIssuer, Logins
from flowrunner.identity.permissions import Role
from flowrunner.testing.clock import ManualClock

KEY = b"k" * 32
ISSUER, AUDIENCE, ACCOUNT = "https://login.example.com", "flows", "000000000001"
SECRET = "s" * 32


@pytest.fixture(scope="module")
def pair():
    """(private key, public PEM)."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public.decode()


@pytest.fixture
def clock():
    return ManualClock()


def logins(clock, key=KEY, seconds=3600):
    return Logins(key, clock, lambda count: b"r" * count, seconds=seconds)


def user(**changes):
    return User(**{"id": "usr_1", "username": "ada", "password": "x", "role": Role.OWNER, "created_at": 0, "updated_at": 0, **changes})


def claims(clock, **changes):
    now = clock.now() // 1000
    given = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "account_id": ACCOUNT, "iat": now, "nbf": now, "exp": now + 600, "role": "editor", **changes}
    return {name: value for name, value in given.items() if value is not None}


def test_a_log_in_says_what_the_source_said(clock):
    """account_id, username, exp, iat, nbf, iss, sub; also aud and an id of its own."""
    token = logins(clock).issue(ACCOUNT, user())
    said = jwt.decode(token, KEY, algorithms=["HS256"], audience="flowrunner", options={"verify_exp": False, "verify_nbf": False, "verify_iat": False})
    now = clock.now() // 1000
    assert {"account_id": ACCOUNT, "username": "ada", "iss": "flowrunner", "sub": "usr_1", "iat": now, "nbf": now, "exp": now + 3600}.items() <= said.items()
    assert said["jti"]
    read = logins(clock).read(token)
    assert (read.account, read.user, read.username, read.logins, read.expires_at) == (ACCOUNT, "usr_1", "ada", 0, (now + 3600) * 1000)


def test_a_log_in_ends(clock):
    """At its second, not a leeway later: the clock is our own."""
    token = logins(clock).issue(ACCOUNT, user())
    clock.jump(3599)
    logins(clock).read(token)
    clock.jump(1)
    with pytest.raises(Unauthenticated):
        logins(clock).read(token)


def _forged(header, payload, signature=b""):
    def part(value):
        return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(payload)}.{part(signature)}"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, "HS512", "RS256", "ES256", "PS256"])
def test_the_algorithm_is_ours_to_say(clock, algorithm):
    """``alg: none`` in any spelling and any other algorithm are refused, signed or not."""
    genuine = logins(clock).issue(ACCOUNT, user())
    payload = json.loads(base64.urlsafe_b64decode(genuine.split(".")[1] + "=="))
    for signature in (b"", base64.urlsafe_b64decode(genuine.split(".")[2] + "==")):
        with pytest.raises(Unauthenticated):
            logins(clock).read(_forged({"alg": algorithm, "typ": "JWT"}, payload, signature))


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "a.b", "é.é.é", "x" * 10_000, "eyJhbGciOiJIUzI1NiJ9..", "eyJhbGciOiJIUzI1NiJ9.e30.", "\x00"])
def test_what_is_no_token(clock, text):
    """Refused, never an error of another kind."""
    foreign = ForeignIssuer(clock, issuer=ISSUER, audience=AUDIENCE, secret=SECRET)
    assert not foreign.issued(text)
    for read in (logins(clock).read, foreign.read):
        with pytest.raises(Unauthenticated):
            read(text)


def test_every_bit_counts(clock):
    """A log-in token with any character changed is refused (but for the bits that base64 does not use)."""
    token = logins(clock).issue(ACCOUNT, user())
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place, letter in enumerate(token[:-1]):
        changed = "A" if letter != "A" else "B"
        with pytest.raises(Unauthenticated):
            logins(clock).read(token[:place] + changed + token[place + 1 :])
    assert token[-1] in letters


@pytest.mark.parametrize(
    "changes",
    [
        {"account_id": None},
        {"account_id": 7},
        {"sub": None},
        {"logins": None},
        {"logins": "0"},
        {"username": None},
        {"exp": None},
        {"exp": "x"},
        {"exp": True},
        {"aud": "other"},
        {"iss": "other"},
    ],
)
def test_a_log_in_with_other_claims(clock, changes):
    """Signed with our key and yet not what we make: refused."""
    token = logins(clock).issue(ACCOUNT, user())
    said = jwt.decode(token, options={"verify_signature": False}) | changes
    forged = jwt.encode({name: value for name, value in said.items() if value is not None}, KEY, algorithm="HS256")
    with pytest.raises(Unauthenticated):
        logins(clock).read(forged)


def test_short_keys_are_refused(clock):
    """HS256 needs 32 bytes; without a key nothing is made or read."""
    for use in (lambda: logins(clock, key=None).issue(ACCOUNT, user()), lambda: logins(clock, key=None).read(logins(clock).issue(ACCOUNT, user()))):
        with pytest.raises(ConfigurationError):
            use()
    with pytest.raises(ConfigurationError):
        logins(clock, key=b"k" * 31)
    with pytest.raises(ConfigurationError):
        ForeignIssuer(clock, issuer=ISSUER, audience=AUDIENCE, secret="short")


# --- foreign issuers


def test_rs256_by_public_key(clock, pair):
    """A foreign token says account, subject, role and end."""
    private, public = pair
    issuer = ForeignIssuer(clock, issuer=ISSUER, audience=AUDIENCE, public_key=public)
    token = jwt.encode(claims(clock), private, algorithm="RS256")
    assert issuer.issued(token)
    found = issuer.read(token)
    assert (found.account, found.subject, found.role) == (ACCOUNT, "ada", Role.EDITOR)
    assert found.expires_at == clock.now() + 660_000  # with the leeway, so that nobody refuses it earlier
    assert not issuer.issued(logins(clock).issue(ACCOUNT, user()))


def test_rs256_by_key_set(clock, pair):
    """The key is found by its id; a token with another id is refused."""
    private, _ = pair
    one = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key())) | {"kid": "one", "alg": "RS256", "use": "sig"}
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    two = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(other.public_key())) | {"kid": "two", "alg": "RS256", "use": "sig"}
    issuer = ForeignIssuer(clock, issuer=ISSUER, audience=AUDIENCE, key_set={"keys": [one, two]})
    assert issuer.read(jwt.encode(claims(clock), private, algorithm="RS256", headers={"kid": "one"})).account == ACCOUNT
    assert issuer.read(jwt.encode(claims(clock), other, algorithm="RS256", headers={"kid": "two"})).account == ACCOUNT
    for key, name in ((private, "two"), (other, "one"), (private, "three"), (private, None), (private, "")):
        with pytest.raises(Unauthenticated):
            issuer.read(jwt.encode(claims(clock), key, algorithm="RS256", headers={"kid": name} if name is not None else None))


def test_a_public_key_is_no_secret(clock, pair):
    """A token signed by HMAC with the public key as its secret (key confusion) is refused."""
    _, public = pair
    issuer = ForeignIssuer(clock, issuer=ISSUER, audience=AUDIENCE, public_key=public)
    import hashlib
    import hmac

    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims(clock)).encode()).rstrip(b"=")
    for secret in (public.encode(), public.strip().encode()):
        signature = base64.urlsafe_b64encode(hmac.digest(secret, head + b"." + body, hashlib.sha256)).rstrip(b"=")
        with pytest.raises(Unauthenticated):
            issuer.read((head + b"." + body + b"." + signature).decode())


@pytest.mark.parametrize(
    ("changes", "seconds", "good"),
    [
        ({}, 0, True),
        ({}, 659, True),  # a minute's leeway
        ({}, 660, False),
        ({}, -60, True),
        ({}, -61, False),
        ({"nbf": None}, 0, True),
        ({"iat": None}, 0, False),
        ({"exp": None}, 0, False),
        ({"exp": 10**30}, 0, True),
        ({"exp": float("nan")}, 0, False),
        ({"exp": float("inf")}, 0, False),
        ({"nbf": float("-inf")}, 0, False),
        ({"aud": "other"}, 0, False),
        ({"aud": None}, 0, False),
        ({"aud": [AUDIENCE, "other"]}, 0, True),
        ({"iss": "https://login.example.com/"}, 0, False),
        ({"iss": None}, 0, False),
        ({"account_id": None}, 0, False),
        ({"account_id": None, "tenant_id": ACCOUNT}, 0, True),
        ({"account_id": 1}, 0, False),
        ({"account_id": ""}, 0, False),
        ({"account_id": "../000000000001"}, 0, False),
        ({"role": None}, 0, True),
        ({"role": "emperor"}, 0, False),
        ({"role": ["owner"]}, 0, False),
        ({"role": {}}, 0, False),
        ({"sub": None}, 0, True),
    ],
)
def test_what_a_foreign_token_must_say(clock, changes, seconds, good):
    """Issuer, audience, times with a minute's leeway, the tenant, a role that there is."""
    issuer = ForeignIssuer(clock, issuer=ISSUER, audience=AUDIENCE, secret=SECRET)
    token = jwt.encode(claims(clock, **changes), SECRET, algorithm="HS256")
    clock.jump(seconds) if seconds > 0 else None
    if seconds < 0:
        now = clock.now() // 1000
        token = jwt.encode(claims(clock, iat=now - seconds, nbf=now - seconds, exp=now + 600), SECRET, algorithm="HS256")
    if good:
        assert issuer.read(token).account == ACCOUNT
    else:
        with pytest.raises(Unauthenticated):
            issuer.read(token)


def test_the_tenant_claim_may_have_another_name(clock):
    """With a claim of its own the usual ones do not count."""
    issuer = ForeignIssuer(clock, issuer=ISSUER, audience=AUDIENCE, secret=SECRET, claim="org")
    assert issuer.read(jwt.encode(claims(clock, org=ACCOUNT, account_id=None), SECRET, algorithm="HS256")).account == ACCOUNT
    with pytest.raises(Unauthenticated):
        issuer.read(jwt.encode(claims(clock), SECRET, algorithm="HS256"))


def test_one_kind_of_key(clock, pair, tmp_path):
    """None, two, or one that cannot be read: the operator is told."""
    for keys in ({}, {"secret": SECRET, "public_key": pair[1]}, {"public_key": "no key"}, {"key_set": {"keys": []}}, {"key_set": {}}):
        with pytest.raises(ConfigurationError):
            ForeignIssuer(clock, issuer=ISSUER, audience=AUDIENCE, **keys)
    (tmp_path / "key.pem").write_text(pair[1])
    ForeignIssuer.of_files(clock, issuer=ISSUER, audience=AUDIENCE, public_key_file=tmp_path / "key.pem", jwks_file=None)
    (tmp_path / "set.json").write_text("[]")
    for files in ({"public_key_file": tmp_path / "none", "jwks_file": None}, {"public_key_file": None, "jwks_file": tmp_path / "set.json"}):
        with pytest.raises(ConfigurationError):
            ForeignIssuer.of_files(clock, issuer=ISSUER, audience=AUDIENCE, **files)
