"""Requests that botocore has signed, as an ASGI server would hand them over, at a time of the test's choice."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from unittest.mock import patch

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from flowrunner.api.aws import Signed
from flowrunner.identity.permissions import Permission
from flowrunner.identity.principal import Principal
from flowrunner.testing.clock import ManualClock

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ACCOUNT = "111111111111"
NOW = dt.datetime(2026, 11, 21, 12, 0, 0, tzinfo=dt.UTC)
NOW_MS = int(NOW.timestamp()) * 1000
HOST = "127.0.0.1:8080"


@dataclass(frozen=True)
class Key:
    """An access key as the accounts keep it; only a temporary one has a session token."""

    account: str = ACCOUNT
    secret: str = SECRET
    permissions: frozenset[str] = frozenset({Permission.MACHINES_READ})
    expires_at: int | None = None
    revoked: bool = False
    session_token: str | None = None

    @property
    def principal(self):
        return Principal(self.account, self.permissions)


class Keys(dict):
    """Access keys by id, with the lookup that the authenticator is given."""

    async def lookup(self, access_key):
        return self.get(access_key)


def make_signed(keys=None, clock=None, **settings):
    known = Keys({ACCESS_KEY: Key()}) if keys is None else keys
    common = {"clock": clock or ManualClock(NOW_MS), "randomness": bytes, "regions": {"us-east-1"}}
    return Signed(known.lookup, **{**common, **settings})


def signed(
    target="ListStateMachines", body=b"{}", *, at=NOW, key=ACCESS_KEY, secret=SECRET, token=None, region="us-east-1", service="states",
    headers=None, url=f"http://{HOST}/", method="POST", expires=None, host=HOST,
):  # fmt: skip
    """An ASGI scope, signed in a header, or presigned when `expires` is given."""
    credentials = botocore.credentials.Credentials(key, secret, token)
    given = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AWSStepFunctions.{target}", "user-agent": "Boto3", **(headers or {})}
    with patch("botocore.auth.get_current_datetime", return_value=at):
        if expires is None:
            request = botocore.awsrequest.AWSRequest(method, url, given, body)
            botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
        else:
            request = botocore.awsrequest.AWSRequest(method, url, given, None)
            signer = botocore.auth.SigV4QueryAuth(credentials, service, region, expires)
            signer.payload = lambda _request: botocore.auth.sha256(body).hexdigest()
            signer.add_auth(request)
    path, _, query = request.url.removeprefix(f"http://{HOST}").partition("?")
    names = [(name.lower().encode(), value.encode() if isinstance(value, str) else value) for name, value in request.headers.items()]
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [*names, (b"host", host.encode()), (b"content-length", b"%d" % len(body))],
    }  # fmt: skip


async def taken(authenticator, scope, body=b"{}") -> Principal:
    """Whom the authenticator takes the request for; it raises AwsFault for nobody."""
    headers = dict(scope["headers"])
    authenticator.admit(scope, headers)
    return await authenticator.authenticate(scope, headers, body)


def changed(scope, **headers):
    """The scope with these headers set, removed (None), or repeated (a list)."""
    names = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    kept = [(name, value) for name, value in scope["headers"] if name not in names]
    for name, value in names.items():
        values = [] if value is None else value if isinstance(value, list) else [value]
        kept += [(name, one.encode() if isinstance(one, str) else one) for one in values]
    return {**scope, "headers": kept}
