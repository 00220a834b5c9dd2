"""An MCP server of the protocol's own library, for a process of its own or below an HTTP server."""

import os

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError


def made():
    server = MCPServer("numbers")

    @server.tool()
    def add(a: int, b: int) -> int:
        """The sum."""
        return a + b

    @server.tool()
    def fail(why: str) -> str:
        """Nothing good."""
        raise ToolError(why)

    @server.tool()
    def environment() -> dict[str, str]:
        """What the process was given."""
        return dict(os.environ)

    @server.tool()
    def header(context: Context) -> str:
        """What the request was given."""
        return str(context.request_context.request.headers.get("x-tenant"))

    @server.resource("note://today")
    def note() -> str:
        """A note."""
        return "Buy tea."

    @server.prompt()
    def greet(name: str) -> str:
        """A greeting."""
        return f"Say hello to {name}."

    return server


if __name__ == "__main__":
    made().run("stdio")
