"""Talking to an application in this process, as a client would from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from flowrunner.client import Client

if TYPE_CHECKING:
    from flowrunner.wiring import Application


def client_inside(application: Application) -> Client:
    """A client whose server is the application itself."""
    settings = application.settings
    return Client("http://localhost", region=settings.region, account=settings.account, transport=httpx.ASGITransport(application.asgi))


def role_arn(account: str) -> str:
    """Return the role of machines that are made without one."""
    return f"arn:aws:iam::{account}:role/flowrunner"
