import asyncio
import os
import shutil
import socket
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from flowrunner.clock import SystemClock
from flowrunner.errors import StoreRefused, StoreUnavailable
from flowrunner.stores.open import open_store
from flowrunner.stores.postgres.session import Session
from flowrunner.stores.postgres.url import parse_address
from flowrunner.testing.ports import quiet_port
from flowrunner.testing.postgres import PostgresServer, ServerError

pytestmark = pytest.mark.skipif("FLOWRUNNER_TEST_POSTGRES_URL" in os.environ, reason="these tests need a server of their own")


async def start(url):
    async with AsyncExitStack() as stack:
        store = open_store(url, clock=SystemClock())
        await store.start(stack)
        await store.check()


async def refusal(url, kind=StoreRefused):
    with pytest.raises(kind) as caught:
        await asyncio.wait_for(start(url), 10)
    assert caught.value.remedy
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
async def admin(postgres_url):
    """A connection of the superuser."""
    connection = await asyncpg.connect(postgres_url.partition("?")[0])
    yield connection
    await connection.close()


@pytest.fixture
def schema(postgres_url):
    """The name of an empty schema, and of whatever else a test makes."""
    return urlsplit(postgres_url).query.removeprefix("schema=")


@pytest.fixture
def server(postgres_server):
    return postgres_server


async def test_nobody_listens(server):
    """A port where nobody listens is said with host, port, user, database, sslmode and what to look at."""
    port = quiet_port()
    text = await refusal(f"postgresql://flow:hunter2@127.0.0.1:{port}/data", StoreUnavailable)
    for part in (f"127.0.0.1:{port}", "'flow'", "'data'", "sslmode=prefer", f"pg_isready -h 127.0.0.1 -p {port}"):
        assert part in text


async def test_nothing_answers():
    """A server that says nothing is given up after the time in the URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        text = await refusal(f"postgresql://u:hunter2@127.0.0.1:{listener.getsockname()[1]}/d?connect_timeout=0.2", StoreUnavailable)
    assert "within 0.2 s" in text
    assert "firewall" in text


async def test_an_unknown_host():
    """A host that has no address is named."""
    text = await refusal("postgresql://u:hunter2@nowhere.invalid/d", StoreUnavailable)
    assert "'nowhere.invalid' is not known" in text


async def test_who_is_not_let_in(server, admin):
    """A wrong password, a role that is not there and one that pg_hba.conf shuts out are told apart."""
    with_password = f"postgresql://with_password:hunter2@127.0.0.1:{server.port}/postgres"
    await admin.execute("CREATE ROLE with_password LOGIN PASSWORD 'right'")
    assert "Check user and password" in await refusal(with_password)
    assert "createuser" in await refusal(server.url(user="nobody_knows"))
    assert "pg_hba.conf" in await refusal(server.url(user="shut_out"))


async def test_no_such_database(server):
    """A database that is not there is answered with the command that makes it."""
    text = await refusal(server.url("missing"))
    assert f"createdb -h 127.0.0.1 -p {server.port} -U postgres -E UTF8 -T template0 missing" in text


async def test_no_tls(server):
    """A server without TLS is refused when the URL requires it."""
    for mode in ("require", "verify-ca", "verify-full"):
        assert "no TLS" in await refusal(server.url(sslmode=mode))


async def test_no_rights(server, admin, schema):
    """A role that may not make the schema is told which rights it needs."""
    await admin.execute(f"CREATE ROLE {schema} LOGIN")
    text = await refusal(server.url(user=schema, schema=schema))
    assert "GRANT CREATE ON DATABASE" in text
    await admin.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {schema}")
    await start(server.url(user=schema, schema=schema))


async def test_other_encodings(server, admin, schema):
    """A database that cannot hold every text is refused."""
    await admin.execute(f"CREATE DATABASE {schema} ENCODING 'LATIN1' TEMPLATE template0")
    assert "encoding LATIN1" in await refusal(server.url(schema))


async def test_a_server_that_forgets(server, admin, schema):
    """A role whose commits are not durable is refused, with the command that changes it."""
    await admin.execute(f"CREATE ROLE {schema} LOGIN SUPERUSER; ALTER ROLE {schema} SET synchronous_commit = off")
    assert f'ALTER ROLE "{schema}" SET synchronous_commit = on' in await refusal(server.url(user=schema, schema=schema))


def test_an_old_server():
    """A server older than 12, or one that only follows another, is refused."""
    session = Session(parse_address("postgresql://u@h/d"))
    plain = {"version": 120000, "encoding": "UTF8", "standby": False, "synchronous_commit": "on"}
    session._examine(plain)
    with pytest.raises(StoreRefused, match=r"version 11.*12 or newer"):
        session._examine(plain | {"version": 110022})
    with pytest.raises(StoreRefused, match="standby"):
        session._examine(plain | {"standby": True})


async def test_too_many_connections(own_server):
    """A server whose connections are all taken is named as such; when one is free again the store starts."""
    others = [await asyncpg.connect(own_server.url()) for _ in range(12)]
    assert "max_connections" in await refusal(own_server.url(), StoreUnavailable)
    for other in others:
        await other.close()
    await start(own_server.url())


async def test_tables_of_others(postgres_url, admin, schema):
    """A schema that holds something else is left as it is."""
    await admin.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.orders (id int)")
    assert "another application (orders)" in await refusal(postgres_url)
    await admin.execute(f"CREATE TABLE {schema}.meta (id int)")
    assert "another application (meta, orders)" in await refusal(postgres_url)
    await admin.execute(f"DROP TABLE {schema}.meta; CREATE TABLE {schema}.meta (key text, value text)")
    assert "another application" in await refusal(postgres_url)


async def test_a_damaged_schema(postgres_url, admin, schema):
    """A schema that lacks a table or an index is refused and says what is missing."""
    await start(postgres_url)
    await admin.execute(f"DROP TABLE {schema}.facts; DROP INDEX {schema}.heads_due")
    assert "lacks facts, facts_of_the_account, heads_due" in await refusal(postgres_url)


async def test_many_nodes_start_at_once(postgres_url):
    """Of ten nodes that find no schema one makes it, and all start."""
    await asyncio.gather(*(start(postgres_url) for _ in range(10)))


def with_tls():
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    return None


@pytest.fixture
def certificates(tmp_path):
    """An authority and a certificate of `localhost` by it."""
    commands = (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 2",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem -extfile names",
    )
    (tmp_path / "names").write_text("subjectAltName=DNS:localhost")
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.mark.skipif(with_tls() is None or shutil.which("openssl") is None, reason="needs a PostgreSQL with TLS in /usr/lib/postgresql, and openssl")
def test_tls(certificates):
    """With TLS every mode does what psql's does: require asks for no proof, verify-ca for the authority, verify-full for the name."""
    try:
        server = PostgresServer(binaries=with_tls())
    except ServerError as error:
        pytest.skip(str(error))
    for name in ("server.key", "server.pem"):
        shutil.copy(certificates / name, server.folder / name)
        shutil.chown(server.folder / name, server.folder.owner(), server.folder.group())
        (server.folder / name).chmod(0o600)
    server._settings |= {"ssl": "on", "ssl_cert_file": str(server.folder / "server.pem"), "ssl_key_file": str(server.folder / "server.key")}
    with server:
        asyncio.run(every_mode(server, str(certificates / "ca.pem")))


async def every_mode(server, authority):
    admin = await asyncpg.connect(server.url())
    await admin.execute("CREATE ROLE only_tls LOGIN SUPERUSER")
    await admin.close()
    by_name = server.url(user="only_tls").replace("127.0.0.1", "localhost")
    by_number = server.url(user="only_tls")
    await start(f"{by_number}?sslmode=prefer")
    await start(f"{by_number}?sslmode=require")
    await start(f"{by_number}?sslmode=verify-ca&sslrootcert={authority}")
    await start(f"{by_name}?sslmode=verify-full&sslrootcert={authority}")
    assert "not accepted" in await refusal(f"{by_number}?sslmode=verify-full&sslrootcert={authority}")
    assert "not accepted" in await refusal(f"{by_name}?sslmode=verify-ca")
    assert "pg_hba.conf" in await refusal(f"{by_number}?sslmode=disable")
