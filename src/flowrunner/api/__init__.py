"""The edges: HTTP, WebSocket, server-sent events."""
