"""Ports for servers of tests: free now, and left alone by everybody else until the server is there, and while it is down."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

FIRST, LANES, PORTS_A_LANE = 15_000, 17, 1_000  # below the range from which the system takes ports for whoever asks for any
_numbers = itertools.count()


def quiet_port() -> int:
    """A free port of loopback outside the range from which the system takes ports: nobody takes it while its server is down.

    A process is given one after the other, and processes that were started together, as the workers of a test run are, have
    different ones.
    """
    first = FIRST + os.getpid() % LANES * PORTS_A_LANE
    while True:
        port = first + next(_numbers) % PORTS_A_LANE
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
