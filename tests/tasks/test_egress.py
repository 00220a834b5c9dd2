"""Reliability S17: no spelling of a private address is connected to; a listener on loopback must see nothing."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from flowrunner.errors import ConfigurationError, LimitExceeded
from flowrunner.tasks.client import GuardedClient, GuardedResolver, Unreachable
from flowrunner.tasks.egress import EgressPolicy, EgressRefused, destination, is_special

# {port} is the listener's. Every line must be refused, whatever it resolves to.
SPELLINGS = [
    "http://127.0.0.1:{port}/", "http://127.1:{port}/", "http://127.0.1:{port}/", "http://2130706433:{port}/", "http://0x7f000001:{port}/",
    "http://0x7f.0x0.0x0.0x1:{port}/", "http://0177.0.0.1:{port}/", "http://017700000001:{port}/", "http://0x7F.1:{port}/", "http://127.0.0.01:{port}/",
    "http://0:{port}/", "http://0.0.0.0:{port}/", "http://0x0:{port}/", "http://00000000000:{port}/", "http://127.0.0.2:{port}/", "http://127.255.255.254:{port}/",
    "http://[::1]:{port}/", "http://[::]:{port}/", "http://[0:0:0:0:0:0:0:1]:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/", "http://[::127.0.0.1]:{port}/", "http://[64:ff9b::127.0.0.1]:{port}/", "http://[64:ff9b::7f00:1]:{port}/",
    "http://[64:ff9b:1::127.0.0.1]:{port}/", "http://[2002:7f00:1::]:{port}/", "http://[2001:0:7f00:1::]:{port}/", "http://[fe80::1%25lo]:{port}/",
    "http://[fe80::1%25eth0]:{port}/", "http://[::1%25lo]:{port}/", "http://[fc00::1]:{port}/", "http://[fd00::1]:{port}/", "http://[ff02::1]:{port}/",
    "http://[fec0::1]:{port}/", "http://[100::1]:{port}/", "http://[5f00::1]:{port}/", "http://[2001:db8::1]:{port}/", "http://[3fff::1]:{port}/",
    "http://10.0.0.1:{port}/", "http://172.16.0.1:{port}/", "http://172.31.255.255:{port}/", "http://192.168.0.1:{port}/", "http://169.254.169.254:{port}/latest/",
    "http://[::ffff:169.254.169.254]:{port}/", "http://100.64.0.1:{port}/", "http://192.0.0.1:{port}/", "http://192.0.0.192:{port}/", "http://198.18.0.1:{port}/",
    "http://224.0.0.1:{port}/", "http://240.0.0.1:{port}/", "http://255.255.255.255:{port}/", "http://192.88.99.1:{port}/", "http://203.0.113.1:{port}/",
    "http://localhost:{port}/", "http://LOCALHOST:{port}/", "http://localhost.:{port}/", "http://127.0.0.1.:{port}/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/", "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11:{port}/", "http://127\u30020\u30020\u30021:{port}/",
    "http://\u0661\u0662\u0667.0.0.1:{port}/", "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}/", "http://%31%32%37.0.0.1:{port}/", "http://127%2e0%2e0%2e1:{port}/",
    "http://127.0.0.1%00.example.com:{port}/", "http://127.0.0.1\\@example.com:{port}/", "http://example.com\\@127.0.0.1:{port}/", "http://user@127.0.0.1:{port}/",
    "http://user:pass@127.0.0.1:{port}/", "http://example.com@127.0.0.1:{port}/", "http://example.com:80@127.0.0.1:{port}/", "http://@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\r\nHost: a/", "http://127.0.0.1:{port}/\r\nX: y", "http://127.0.0.1:{port}/ HTTP/1.1", "\thttp://127.0.0.1:{port}/", " http://127.0.0.1:{port}/",
    "http:\n//127.0.0.1:{port}/", "http://127.0.0.1:{port}/\0", "file:///etc/passwd", "file://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/_x", "ftp://127.0.0.1:{port}/",
    "dict://127.0.0.1:{port}/", "ldap://127.0.0.1:{port}/", "ws://127.0.0.1:{port}/", "unix:///tmp/socket", "data:text/plain,hi", "javascript:alert(1)", "jar:http://127.0.0.1:{port}!/",
    "//127.0.0.1:{port}/", "127.0.0.1:{port}", "/", "", "http://", "http://:{port}/", "http:127.0.0.1:{port}/", "http:///127.0.0.1:{port}/", "http://[127.0.0.1]:{port}/",
    "http://[::1:{port}/", "http://::1:{port}/", "http://1.2.3.4.5:{port}/", "http://256.256.256.256:{port}/", "http://127.0.0.1.nip.io.0x7f:{port}/",
    "http://127.0.0.1:{port}:80/", "http://127.0.0.1:999999/", "http://a..b:{port}/", "http://-a:{port}/", "http://a$b:{port}/", "http://127.0.0.1#@example.com:{port}/",
    "http://127.0.0.1?@example.com:{port}/", "http://127.0.0.1;example.com:{port}/", "http://[v1.fe80::a]:{port}/", "http://private.test:{port}/", "http://both.test:{port}/",
    "http://mapped.test:{port}/", "http://scoped.test:{port}/", "https://private.test:{port}/",
]  # fmt: skip
HOSTS = (
    # IPv4, in whatever C libraries, browsers and shells have taken
    "127.0.0.1", "127.0.0.0", "127.1.1.1", "127.127.127.127", "127.0.0.1.", "127.0.0.1..", "127.00.00.01", "127.000.000.001", "0127.0.0.1", "00127.0.0.1",
    "0177.0.0.01", "0177.1", "0x7f.1", "0X7F.0.0.1", "0x7f.0.1", "0x7f.0x1", "0x7F000001", "0x07f000001", "0x00000000007f000001", "017700000001", "0017700000001",
    "2130706433.", "02130706433", "4294967295", "4294967296", "425.510.425.510", "2886729729", "3232235521", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376",
    "0xa9.0xfe.0xa9.0xfe", "169.254.43518", "169.16689662", "169.254.169.254.", "169.254.170.2", "168.63.129.16.0x0", "0.0.0.1", "00.00.00.00", "0x0.0x0", "0x", "0x.0x.0x.0x",
    "127.0.0.1e0", "1.27e8", "-1", "127.0.0.-1", "+127.0.0.1", "127,0,0,1", "127_0_0_1.1", "127.0.0.1:1", "127.0.0.1%20", "127.0.0.1%09", "127.0.0.1%2f", "127.0.0.1%23",
    # IPv4 in IPv6 clothes, and IPv6 of all sorts
    "[::ffff:7f00:0001]", "[::FFFF:127.0.0.1]", "[0000:0000:0000:0000:0000:ffff:7f00:0001]", "[::ffff:0:7f00:1]", "[::ffff:0:127.0.0.1]", "[::7f00:1]", "[::ffff:10.0.0.1]",
    "[::ffff:0a00:0001]", "[::ffff:c0a8:1]", "[::ffff:a9fe:a9fe]", "[::ffff:0.0.0.0]", "[64:ff9b::10.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1:7f00:1::]", "[2002:a9fe:a9fe::]",
    "[2002:7f00:0001::1]", "[2002:c0a8:0001::]", "[2001::7f00:1]", "[2001:0:0:0:0:0:80ff:fffe]", "[2001:10::1]", "[2001:20::1]", "[::1%1]", "[::1%25]", "[::1%25lo0]",
    "[0::1]", "[::0001]", "[::0:1]", "[0:0::0:1]", "[::00000001]", "[1::]", "[::2]", "[fe80::]", "[fe80::1]", "[febf::1]", "[feff::1]", "[fd00:ec2::254]", "[fdff::1]",
    "[ff01::1]", "[ff05::2]", "[ffff::1]", "[4000::1]", "[e000::1]", "[0100::]", "[::1]]", "[[::1]]", "[::1", "::1]", "[]", "[:]", "[::1].", "[::1]a", "[::ffff:127.1]", "[::ffff:0x7f.1]",
    "[::ffff:127.0.0.01]", "[::ffff:2130706433]", "[::%31]", "[::127.1]", "[12345::1]", "[1:2:3:4:5:6:7:8:9]", "[g::1]",
    # names that are this machine, or no names
    "localhost", "LocalHost", "localhost..", "l%6fcalhost", "loc\u0430lhost", "\uff4cocalhost", "localhost\u3002", "localho\u017ft", "localhost%00", "localhost%00.example.com",
    "localhost%E3%80%82", "private.test", "PRIVATE.TEST", "private.test.", "priv%61te.test", "\uff50rivate.test", "private\uff0etest", "private\uff61test", "private\u00adtest.test",
    "both.test", "mapped.test", "nat64.test", "sixtofour.test", "unspecified.test", "metadata.test", "multicast.test", "broadcast.test", "zoned.test", "later.test",
    "127.0.0.1\u3002", "\uff10x7f.1", "\u2488\u2488", "\u00b9\u00b2\u2077.0.0.1", "\u09e7\u09e8\u09ed.0.0.1", "\U0001d7cf\U0001d7d0\U0001d7d5.0.0.1", "127\uff0e0\uff0e0\uff0e1", "127.0.0.\u2460",
    "a@127.0.0.1", "a:b@[::1]", ":@127.0.0.1", "%40127.0.0.1", "example.com%40127.0.0.1", "example.com#@127.0.0.1", "127.0.0.1\\.example.com", "127.0.0.1\tx", "127.0.0.1\n", "127.0.0.1\x00", "\x7f127.0.0.1",
    "127.0.0.1.localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "127.0.0.1.nip.io", "127-0-0-1.nip.io", "localtest.me", "kubernetes.default.svc", "metadata.google.internal",
    "host.docker.internal", "*", "*.test", "..", ".", "a" * 64 + ".test", ("a." * 130) + "test", "xn--", "xn--127-.0.0.1", "_", "-", "a..localhost", "$(id)", "`id`", "{a}", "<a>", '"a"', "'a'", "a|b", "a^b", "a~b",
)  # fmt: skip
NAMES = {
    "nat64.test": ["64:ff9b::7f00:1"],
    "sixtofour.test": ["2002:7f00:1::"],
    "unspecified.test": ["0.0.0.0"],
    "metadata.test": ["169.254.169.254"],
    "multicast.test": ["224.0.0.1"],
    "broadcast.test": ["255.255.255.255"],
    "zoned.test": ["::1%lo"],
    "later.test": ["93.184.216.34", "2606:4700::1111", "::1"],
    "private.test": ["127.0.0.1"],
    "both.test": ["93.184.216.34", "127.0.0.1"],  # one public address does not make the other good
    "mapped.test": ["::ffff:127.0.0.1"],
    "scoped.test": ["fe80::1%lo"],
    "localhost": ["127.0.0.1"],
    "localhost.": ["127.0.0.1"],
}


class Names(AbstractResolver):
    """A resolver that answers from a table; a list of lists is one answer after the other."""

    def __init__(self, table):
        self.table, self.asked = table, []

    async def resolve(self, host, port=0, family=socket.AF_INET):
        self.asked.append(host)
        addresses = self.table[host]
        if addresses and isinstance(addresses[0], list):
            addresses = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return [
            {"hostname": host, "host": one, "port": port, "family": socket.AF_INET6 if ":" in one else socket.AF_INET, "proto": 0, "flags": 0}
            for one in addresses
        ]

    async def close(self):
        pass


@pytest.fixture
async def listener():
    """Counts connections on loopback, IPv4 and IPv6."""
    seen = []

    async def accept(reader, writer):
        seen.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    seen_port = server.sockets[0].getsockname()[1]
    async with server:
        yield seen, seen_port


@pytest.fixture
async def client(stack):
    async def make(policy=None, names=None, **options):
        made = GuardedClient(policy or EgressPolicy(ports=None), names=names, **options)
        await made.start(stack)
        return made

    return make


@pytest.fixture
async def site(stack):
    """Serves handlers by their paths on loopback and gives the port."""

    async def make(routes):
        application = web.Application()
        for path, handler in routes.items():
            application.router.add_route("*", path, handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        where = web.TCPSite(runner, "127.0.0.1", 0)
        await where.start()
        return where._server.sockets[0].getsockname()[1]

    return make


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_connects(client, listener, spelling):
    """Each spelling is refused and the listener sees nothing."""
    seen, port = listener
    guarded = await client(names=Names(NAMES))
    with pytest.raises(EgressRefused):
        await guarded.request("GET", spelling.replace("{port}", str(port)), headers={}, seconds=5)
    assert seen == []


async def test_no_host_connects(client, stack):
    """Nothing that stands for this machine, a private network or no host at all is connected to: on IPv4 and IPv6, at any address of ours."""
    seen = []

    async def accept(reader, writer):
        seen.append(writer.get_extra_info("sockname"))
        writer.close()

    server = await asyncio.start_server(accept, "0.0.0.0", 0)
    await stack.enter_async_context(server)
    port = server.sockets[0].getsockname()[1]
    if socket.has_ipv6:
        await stack.enter_async_context(await asyncio.start_server(accept, "::", port, family=socket.AF_INET6))
    guarded = await client(names=Names(defaultdict(lambda: ["127.0.0.1"], NAMES)))  # a resolver at its worst: whatever it is asked is here
    for scheme in ("http", "https"):
        for host in HOSTS:
            with pytest.raises(EgressRefused):
                await guarded.request("GET", f"{scheme}://{host}:{port}/", headers={}, seconds=5)
    assert seen == []


def test_there_are_three_hundred_spellings():
    """The lists are not shortened by accident."""
    assert len({*SPELLINGS, *(f"http://{host}:{{port}}/" for host in HOSTS)}) >= 300


async def test_the_listener_would_see_it(client, listener):
    """The control: allowed, the same request does reach the listener."""
    seen, port = listener
    guarded = await client(EgressPolicy([f"127.0.0.1:{port}"]))
    with pytest.raises(Unreachable):
        await guarded.request("GET", f"http://127.0.0.1:{port}/", headers={})
    assert len(seen) == 1


async def test_rebinding(client, listener, site):
    """A name that is allowed once and answers loopback the next time is asked once for each connection, and then refused."""
    seen, port = listener

    async def close(request):
        return web.Response(text="first", headers={"Connection": "close"})

    other = await site({"/": close})
    names = Names({"rebind.test": [["127.0.0.1"], ["127.0.0.2"]], "public.test": [["93.184.216.34"], ["127.0.0.1"]]})
    guarded = await client(EgressPolicy([f"127.0.0.1:{other}"], ports=None), names)
    assert (await guarded.request("GET", f"http://rebind.test:{other}/", headers={})).body == b"first"
    with pytest.raises(EgressRefused):
        await guarded.request("GET", f"http://rebind.test:{other}/", headers={})
    assert names.asked == ["rebind.test", "rebind.test"]
    resolver = GuardedResolver(EgressPolicy(ports=None), names)
    assert [one["host"] for one in await resolver.resolve("public.test", port)] == ["93.184.216.34"]
    with pytest.raises(EgressRefused):
        await resolver.resolve("public.test", port)
    assert seen == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_checked(client, listener, site, status):
    """Each hop is checked as the first."""
    seen, port = listener

    async def away(request):
        return web.Response(status=status, headers={"Location": request.query["to"]})

    start = await site({"/": away})
    guarded = await client(EgressPolicy([f"127.0.0.1:{start}"]))
    for to in (f"http://127.0.0.1:{port}/", f"//127.0.0.1:{port}/", f"http://[::ffff:127.0.0.1]:{port}/", f"http://2130706433:{port}/", "file:///etc/passwd"):
        with pytest.raises(EgressRefused):
            await guarded.request("GET", f"http://127.0.0.1:{start}/?to={to}", headers={})
    again = f"http://127.0.0.1:{start}/?to=http://127.0.0.1:{start}/%3Fto=http://127.0.0.1:{port}/"
    with pytest.raises(EgressRefused):
        await guarded.request("GET", again, headers={})
    assert seen == []


async def test_credentials_stay_with_their_host(client, site):
    """A redirect within the origin keeps headers, one to another host loses whatever might be a credential, and never repeats a body."""
    got = []

    async def show(request):
        got.append((dict(request.headers), await request.read()))
        return web.Response(text="ok")

    second = await site({"/": show})

    async def away(request):
        return web.Response(status=int(request.query["status"]), headers={"Location": request.query["to"]})

    first = await site({"/": away, "/here": show})
    guarded = await client(EgressPolicy(["127.0.0.1", "other.test"]), Names({"other.test": ["127.0.0.1"]}))
    headers = {"Authorization": "Bearer canary", "Cookie": "canary", "X-Api-Key": "canary", "Accept": "text/plain"}
    await guarded.request("GET", f"http://127.0.0.1:{first}/?status=302&to=/here", headers=headers)
    assert got[-1][0]["Authorization"] == "Bearer canary"
    await guarded.request("GET", f"http://127.0.0.1:{first}/?status=302&to=http://other.test:{second}/", headers=headers)
    assert "canary" not in str(got[-1])
    assert got[-1][0]["Accept"] == "text/plain"
    await guarded.request("POST", f"http://127.0.0.1:{first}/?status=302&to=http://127.0.0.1:{second}/", headers=headers, body=b"canary")
    assert "canary" not in str(got[-1])
    with pytest.raises(EgressRefused):
        await guarded.request("POST", f"http://127.0.0.1:{first}/?status=307&to=http://127.0.0.1:{second}/", headers=headers, body=b"canary")
    assert len(got) == 3


async def test_redirects_end(client, site):
    """A circle of redirects is left after five."""
    asked = []

    async def again(request):
        asked.append(1)
        return web.Response(status=302, headers={"Location": "/"})

    port = await site({"/": again})
    guarded = await client(EgressPolicy(["127.0.0.1"]))
    with pytest.raises(Unreachable):
        await guarded.request("GET", f"http://127.0.0.1:{port}/", headers={})
    assert len(asked) == 6


async def test_size_and_time_are_bounded(client, site):
    """A body above the bound, packed or not, and an answer that does not come end the request."""
    waiting = asyncio.Event()

    async def large(request):
        response = web.Response(body=b"a" * 200_000)
        if request.query.get("packed"):
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async def never(request):
        await waiting.wait()

    port = await site({"/large": large, "/never": never})
    guarded = await client(EgressPolicy(["127.0.0.1"]), max_bytes=100_000)
    for query in ("", "?packed=1"):
        with pytest.raises(LimitExceeded):
            await guarded.request("GET", f"http://127.0.0.1:{port}/large{query}", headers={})
    with pytest.raises(TimeoutError):
        await guarded.request("GET", f"http://127.0.0.1:{port}/never", headers={}, seconds=0.05)


async def test_proxies_of_the_environment_are_ignored(client, site, listener, monkeypatch):
    """http_proxy and its fellows change nothing."""
    seen, port = listener
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")

    async def show(request):
        return web.Response(text="direct")

    there = await site({"/": show})
    guarded = await client(EgressPolicy(["127.0.0.1"]))
    assert (await guarded.request("GET", f"http://127.0.0.1:{there}/", headers={})).body == b"direct"
    assert seen == []


async def test_header_injection(client, listener):
    """A line break in a header goes nowhere."""
    seen, port = listener
    guarded = await client(EgressPolicy(["127.0.0.1"]))
    for headers in ({"X": "a\r\nY: b"}, {"X\r\nY": "a"}, {"X": "a\nb"}, {"X": "a\0"}):
        with pytest.raises(EgressRefused):
            await guarded.request("GET", f"http://127.0.0.1:{port}/", headers=headers)
    assert seen == []


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_public_addresses_pass(address):
    """The guard is no wall around everything."""
    from ipaddress import ip_address

    assert not is_special(ip_address(address))
    EgressPolicy().check("example.com", 443, ip_address(address))


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "allowed"),
    [
        ("10.0.0.0/8", "inner", 8080, "10.1.2.3", True),
        ("10.0.0.0/8", "inner", 8080, "11.1.2.3", None),
        ("127.0.0.1:8081", "x", 8081, "127.0.0.1", True),
        ("127.0.0.1:8081", "x", 8082, "127.0.0.1", False),
        ("127.0.0.1:8081", "x", 8081, "::ffff:127.0.0.1", True),
        ("[::1]:8081", "x", 8081, "::1", True),
        ("[::1]", "x", 1, "::1", True),
        ("Inner.Example", "inner.example", 5, "192.168.1.1", True),
        ("inner.example:5", "inner.example", 6, "192.168.1.1", False),
        ("inner.example", "inner.example.evil", 5, "192.168.1.1", False),
        ("fd00::/8", "x", 5, "fd00::1", True),
    ],
)
def test_exceptions(entry, host, port, address, allowed):
    """Networks, addresses and names may be allowed, with or without a port."""
    from ipaddress import ip_address

    policy = EgressPolicy([entry])
    if allowed is False:
        with pytest.raises(EgressRefused):
            policy.check(host, port, ip_address(address))
    else:
        policy.check(host, port, ip_address(address))


def test_ports():
    """Unusual ports of public hosts need an exception."""
    from ipaddress import ip_address

    with pytest.raises(EgressRefused):
        EgressPolicy().check("example.com", 25, ip_address("8.8.8.8"))
    EgressPolicy(["example.com:25"]).check("example.com", 25, ip_address("8.8.8.8"))


@pytest.mark.parametrize("entry", ["http://a", "a b", "", "10.0.0.1/8", "[::1", "a:99999999", "*", "300.1.1.1"])
def test_bad_exceptions(entry):
    """An exception that cannot be read is named."""
    with pytest.raises(ConfigurationError):
        EgressPolicy([entry])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://files.example/a", "Only http:// and https:// URLs with a host are allowed, not 'ftp://files.example/a'."),
        (
            "{{nope}}/x",
            "Only http:// and https:// URLs with a host are allowed, not '{{nope}}/x'. {{nope}} could not be resolved: no variable and no output has this name.",
        ),
        ("http://h/{{ a }}", "The URL 'http://h/{{ a }}' holds a blank, a control character or a backslash. {{ a }} could not be resolved: "),
        ("http://h/x y?q={{a}}", "The URL 'http://h/x y' holds a blank, a control character or a backslash. {{a}} could not be resolved: "),
        ("http://[::1", "The URL 'http://[::1' cannot be read."),
        ("ftp://user:dbpw@h/?token=dbpw", "Only http:// and https:// URLs with a host are allowed, not 'ftp://***@h/'."),
        (f"ftp://h/{'a' * 500}", f"Only http:// and https:// URLs with a host are allowed, not 'ftp://h/{'a' * 192}'."),
    ],
)
def test_the_refused_address_is_named(url, said):
    """Without what may be a credential in it; what was not resolved is told."""
    with pytest.raises(EgressRefused) as caught:
        destination(url)
    assert str(caught.value).startswith(said)
    assert "dbpw" not in str(caught.value)
