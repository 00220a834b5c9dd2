"""Kinds of nodes and steps, built in and plugged in: ``/api/v1/plugins`` (F)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from flowrunner import __version__
from flowrunner.api.accounts import answer
from flowrunner.api.authoring import Authoring, Caller
from flowrunner.api.contract import Contract
from flowrunner.errors import NotFound
from flowrunner.identity.permissions import Permission
from flowrunner.kinds import KindInfo

PLUGINS = "/api/v1/plugins"


class Plugin(msgspec.Struct, kw_only=True):
    """A kind of node; `source` is where one that is not built in comes from."""

    name: str
    description: str
    version: str
    source: str


class PluginError(msgspec.Struct):
    """An error that a kind may fail with."""

    name: str
    when: str


class PluginDetails(Plugin, kw_only=True):
    """A kind of node with its contract; `parameters` and `outputs` are JSON Schemas, no `actions` means any."""

    title: str
    aliases: list[str]
    actions: list[str]
    parameters: dict[str, Any]
    outputs: dict[str, Any]
    errors: list[PluginError]


def routes(authoring: Authoring) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    by_name = {name: kind for kind in authoring.kinds for name in (kind.name, *kind.aliases)}

    def brief(kind: KindInfo) -> dict[str, Any]:
        return {"name": kind.name, "description": kind.description, "version": __version__, "source": authoring.plugins.get(kind.name, "built in")}

    @get(PLUGINS, permission=Permission.MACHINES_READ, operation_id="listPlugins", contract=Contract(gives={200: list[Plugin]}))
    async def list_plugins(request: Caller) -> Response[bytes]:
        """Every kind of node, by name."""
        del request
        return answer([Plugin(**brief(kind)) for kind in authoring.kinds])

    @get(f"{PLUGINS}/{{name:str}}", permission=Permission.MACHINES_READ, operation_id="getPlugin", contract=Contract(gives={200: PluginDetails}, fails=(404,)))
    async def get_plugin(request: Caller, name: FromPath[str]) -> Response[bytes]:
        """One kind of node: its parameters, outputs, actions and errors."""
        del request
        kind = by_name.get(name)
        if kind is None:
            raise NotFound("kind of node", name)
        details: dict[str, Any] = {
            "title": kind.title,
            "aliases": list(kind.aliases),
            "actions": list(kind.actions),
            "parameters": kind.parameters,
            "outputs": kind.outputs,
        }
        return answer(PluginDetails(**brief(kind), **details, errors=[PluginError(*error) for error in kind.errors]))

    return [list_plugins, get_plugin]
