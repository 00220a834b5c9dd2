"""PostgreSQL's errors as ours: one table of who is hit and what to do.

Four kinds. One write is wrong (a key is there twice): only that write fails. The transaction lost a race (deadlock): it runs
again. The database does not answer now: everything on the way fails with StoreUnavailable, the outcome unknown, and the
connection is made anew. Someone must act first (no such role, no such database): the store refuses to start.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import asyncpg

from flowrunner.errors import FlowRunnerError, StoreError, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from flowrunner.stores.postgres.url import Address

WRONG = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError, UnicodeError)
"""What one write alone can be guilty of."""

RACES = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)
"""The transaction is rolled back for certain, and may go well the next time."""

DRIVER = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError, EOFError, UnicodeError)
"""Whatever a call of the driver may raise."""

LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InvalidCachedStatementError,
    ConnectionError,
    EOFError,
)
"""The connection was no good; a read may be asked again on another one."""

HARMLESS = (*WRONG, *RACES, asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, asyncpg.InsufficientPrivilegeError)
"""After these, outside a transaction, the connection is as good as before."""


def unavailable(error: BaseException, address: Address) -> StoreUnavailable:
    """What to tell a caller when the database as a whole did not do it."""
    if isinstance(error, StoreUnavailable):
        return error
    match error:
        case asyncpg.DiskFullError():
            return StoreUnavailable(f"The disk of {address} is full.", remedy="Free some space; no restart is needed.")
        case asyncpg.ReadOnlySQLTransactionError():
            return StoreUnavailable(f"{address} is read-only ({error}).", remedy="Point FlowRunner at the primary server.")
        case asyncpg.TooManyConnectionsError():
            return StoreUnavailable(f"{address} takes no more connections ({error}).", remedy=CROWDED)
        case asyncpg.InvalidSQLStatementNameError() | asyncpg.DuplicatePreparedStatementError():
            return StoreUnavailable(f"A pooler before {address} mixes up prepared statements.", remedy="Add pgbouncer=true to the store's URL.")
        case asyncpg.InsufficientPrivilegeError() | asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError():
            return StoreUnavailable(f"{address} refuses ({error}).", remedy="Did somebody change the schema or its rights? Restart FlowRunner then.")
        case TimeoutError():
            return StoreUnavailable(f"{address} did not answer in time.", remedy="FlowRunner tries again by itself.")
        case asyncpg.PostgresError():
            return StoreUnavailable(f"{address} could not do it ({error}).", remedy="FlowRunner tries again by itself.")
        case _:
            return StoreUnavailable(f"The connection to {address} is lost ({_words(error)}).", remedy="FlowRunner connects again by itself.")


def refused_write(error: BaseException) -> StoreError:
    """What to tell the caller whose write alone was wrong; the server's detail is left out, which shows the whole row."""
    why = str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, asyncpg.UniqueViolationError):
        return StoreError(f"A part of this write is stored already ({why}).")
    if isinstance(error, asyncpg.ProgramLimitExceededError):
        return StoreError(f"A part of this write is larger than PostgreSQL can hold ({why}).")
    return StoreError(f"PostgreSQL refused this write ({why}).")


CROWDED = "Raise max_connections, lower connections in the store's URL, or put PgBouncer in between."


def unreachable(error: BaseException, address: Address) -> FlowRunnerError:
    """What to tell whoever starts the store when no connection could be made: where, as whom, why, and what to look at."""
    tried = f"user {address.user!r}, database {address.database!r}, sslmode={address.sslmode}"
    where = f"{address.host}:{address.port}"
    match error:
        case asyncpg.InvalidCatalogNameError():
            command = f"createdb -h {address.host} -p {address.port} -U {address.user} -E UTF8 -T template0 {address.database}"
            return StoreRefused(f"The PostgreSQL server at {where} has no database {address.database!r} ({tried}).", remedy=f"Create it: {command}")
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return _not_let_in(error, address, where, tried)
        case asyncpg.InsufficientPrivilegeError():
            remedy = f"GRANT CONNECT ON DATABASE to the role, or look into the server's log. The server says: {error}"
            return StoreRefused(f"The role {address.user!r} may not use this database at {where} ({tried}).", remedy=remedy)
        case asyncpg.TooManyConnectionsError():
            return StoreUnavailable(f"The PostgreSQL server at {where} takes no more connections ({error}; {tried}).", remedy=CROWDED)
        case asyncpg.CannotConnectNowError():
            return StoreUnavailable(f"The PostgreSQL server at {where} is starting or stopping ({error}; {tried}).", remedy="Try again in a moment.")
        case socket.gaierror():
            return StoreUnavailable(
                f"The host name {address.host!r} is not known ({error.strerror}; {tried}).", remedy="Check its spelling and the name server."
            )
        case ssl.SSLCertVerificationError():
            remedy = "Name its authority with sslrootcert=FILE, and the host as the certificate does (verify-full)."
            return StoreRefused(f"The certificate of the PostgreSQL server at {where} is not accepted ({error.verify_message}; {tried}).", remedy=remedy)
        case ssl.SSLError():
            return StoreRefused(f"No TLS connection to {where} comes about ({_words(error)}; {tried}).", remedy=TLS)
        case TimeoutError():
            remedy = "Is the host right? Does a firewall drop the packets?"
            return StoreUnavailable(f"Nothing answers at {where} within {address.connect_seconds:g} s ({tried}).", remedy=remedy)
        case ConnectionRefusedError():
            remedy = f"Is PostgreSQL running and listening on that address and port? Look with: pg_isready -h {address.host} -p {address.port}"
            return StoreUnavailable(f"No PostgreSQL server listens at {where} ({tried}).", remedy=remedy)
        case ConnectionError() if "SSL" in str(error):  # the driver's words for a server that declines TLS
            return StoreRefused(f"The PostgreSQL server at {where} speaks no TLS ({tried}).", remedy=TLS)
        case asyncpg.PostgresError():
            return StoreUnavailable(f"The PostgreSQL server at {where} refuses the connection ({error}; {tried}).", remedy="Look into the server's log.")
        case _:
            return StoreUnavailable(f"The PostgreSQL server at {where} cannot be reached ({_words(error)}; {tried}).", remedy="Check network and firewall.")


TLS = "Turn TLS on in the server, or use sslmode=prefer or sslmode=disable on a network you trust."


def _not_let_in(error: asyncpg.PostgresError, address: Address, where: str, tried: str) -> StoreRefused:
    if "pg_hba.conf" in str(error):
        remedy = f"Let the role in by a line in the server's pg_hba.conf. The server says: {error}"
    elif "does not exist" in str(error):
        remedy = f"Create the role: createuser -h {address.host} -p {address.port} --pwprompt {address.user}"
    else:
        remedy = f"Check user and password; the role may have to be created: createuser -h {address.host} -p {address.port} --pwprompt {address.user}"
    return StoreRefused(f"The PostgreSQL server at {where} does not let us in ({tried}).", remedy=remedy)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
