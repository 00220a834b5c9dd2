from __future__ import annotations

import socket

import pytest

from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.reach import Reach, tls

PORTS = frozenset({5432})


class Names:
    """Resolves every name to these addresses, in turn: one list for each question."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        found = self.answers.pop(0)
        if isinstance(found, OSError):
            raise found
        return [{"hostname": host, "host": one, "port": port, "family": family, "proto": 0, "flags": 0} for one in found]


async def test_the_checked_address_is_what_is_connected_to():
    """A name is resolved once: what it resolves to afterwards does not matter."""
    names = Names(["93.184.216.34"], ["127.0.0.1"])
    assert await Reach(EgressPolicy(), names).address("db.example.org", 5432, ports=PORTS, unreachable="X") == "93.184.216.34"
    assert len(names.answers) == 1


@pytest.mark.parametrize(
    ("addresses", "error"),
    [
        (["93.184.216.34", "10.0.0.1"], "FlowRunner.EgressRefused"),
        (["169.254.169.254"], "FlowRunner.EgressRefused"),
        (["::1"], "FlowRunner.EgressRefused"),
        (["::ffff:127.0.0.1"], "FlowRunner.EgressRefused"),
        (["fe80::1%eth0"], "FlowRunner.EgressRefused"),
        ([], "FlowRunner.Unreachable"),
        (OSError("no such name"), "FlowRunner.Unreachable"),
    ],
)
async def test_names_of_private_addresses(addresses, error):
    """One private address among them is enough to refuse a name; a name without any is unreachable."""
    with pytest.raises(NodeFailed) as caught:
        await Reach(EgressPolicy(), Names(addresses)).address("db.example.org", 5432, ports=PORTS, unreachable="FlowRunner.Unreachable")
    assert caught.value.error == error


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f000001", "017700000001", "2130706433", "[::1]", "::1", "0.0.0.0", "a b", "", "db.example.org/x", "user@db", "db\n", "\u217cocalhost"]
)
async def test_spellings(host):
    """Unusual spellings of addresses, and what is no host at all, are refused before anybody is asked."""
    with pytest.raises(NodeFailed) as caught:
        await Reach(EgressPolicy(), Names()).address(host, 5432, ports=PORTS, unreachable="X")
    assert caught.value.error == "FlowRunner.EgressRefused"


async def test_ports():
    """A protocol has its own ports; others need the operator's leave."""
    reach = Reach(EgressPolicy(["8.8.4.4:9999"]))
    assert await reach.address("8.8.8.8", 5432, ports=PORTS, unreachable="X") == "8.8.8.8"
    assert await reach.address("8.8.4.4", 9999, ports=PORTS, unreachable="X") == "8.8.4.4"
    with pytest.raises(NodeFailed, match="ports"):
        await reach.address("8.8.8.8", 80, ports=PORTS, unreachable="X")


def test_authorities_that_cannot_be_read():
    """The failure says what is wanted."""
    with pytest.raises(NodeFailed, match="PEM"):
        tls("db.example.org", authorities="-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----")
