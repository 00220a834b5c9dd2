"""What the engine and the edges tell whoever watches them: a few plain calls, cheap enough for every step."""

from __future__ import annotations

from typing import Protocol

from flowrunner.ports.executions import Head

# What goes wrong with subscribers: closed by the server (4400, 4401, 4404, 4408, 1011), by the protocol (no pong, too large a message, what is no WebSocket),
# refused before the upgrade, answered with an error.
SOCKET_ERRORS = ("bad_request", "let_out", "unknown_run", "too_slow", "failed", "no_pong", "too_large", "protocol", "refused", "message")


class Observer(Protocol):
    """Told of what happened, after it happened.

    A call must not block, must not raise and should take less than two microseconds: it is made on the event loop.
    """

    def on_execution_started(self, head: Head) -> None:
        """Note a new execution: its first step is stored."""
        ...

    def on_execution_loaded(self, head: Head) -> None:
        """Note that an execution was brought into memory: taken over, woken or read anew, any number of times."""
        ...

    def on_execution_ended(self, head: Head) -> None:
        """Note that an execution has ended; `head` has its status, start and stop."""
        ...

    def on_step(self, records: int, seconds: float) -> None:
        """Note a stored step: its number of records, and the time from its first fact to its commit."""
        ...

    def on_retry(self, error: str) -> None:
        """Note that a state will be tried again because of this error."""
        ...

    def on_timer_lag(self, seconds: float) -> None:
        """Note how late a timer fired."""
        ...

    def on_takeover(self) -> None:
        """Note that an execution of a dead owner was taken over."""
        ...

    def on_store_operation(self, operation: str, seconds: float) -> None:
        """Note a call of the store."""
        ...

    def on_socket_opened(self) -> None:
        """Note a new subscriber of a stream."""
        ...

    def on_socket_messages(self, count: int) -> None:
        """Note messages sent to one subscriber."""
        ...

    def on_socket_closed(self, seconds: float) -> None:
        """Note that a subscriber has gone after this time."""
        ...

    def on_socket_error(self, reason: str) -> None:
        """Note what went wrong with a subscriber: one of SOCKET_ERRORS."""
        ...

    def on_refused(self, code: str) -> None:
        """Note that a request or a connection was refused: the code of the problem, or ``dropped`` when it was closed without a word."""
        ...


class NullObserver:
    """Looks the other way."""

    def on_execution_started(self, head: Head) -> None:
        """Do nothing."""

    def on_execution_loaded(self, head: Head) -> None:
        """Do nothing."""

    def on_execution_ended(self, head: Head) -> None:
        """Do nothing."""

    def on_step(self, records: int, seconds: float) -> None:
        """Do nothing."""

    def on_retry(self, error: str) -> None:
        """Do nothing."""

    def on_timer_lag(self, seconds: float) -> None:
        """Do nothing."""

    def on_takeover(self) -> None:
        """Do nothing."""

    def on_store_operation(self, operation: str, seconds: float) -> None:
        """Do nothing."""

    def on_socket_opened(self) -> None:
        """Do nothing."""

    def on_socket_messages(self, count: int) -> None:
        """Do nothing."""

    def on_socket_closed(self, seconds: float) -> None:
        """Do nothing."""

    def on_socket_error(self, reason: str) -> None:
        """Do nothing."""

    def on_refused(self, code: str) -> None:
        """Do nothing."""
