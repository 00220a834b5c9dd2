"""Talking to an application in this process, as a client would from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import httpx

from flowrunner.client import Client

if TYPE_CHECKING:
    from flowrunner.wiring import Application


def client_inside(application: Application) -> Client:
    """A client whose server is the application itself."""
    settings = application.settings  # the ASGI types of the two libraries are the same and named apart
    return Client("http://localhost", region=settings.region, account=settings.account, transport=httpx.ASGITransport(cast("Any", application.asgi)))


def role_arn(account: str) -> str:
    """Return the role of machines that are made without one."""
    return f"arn:aws:iam::{account}:role/flowrunner"
