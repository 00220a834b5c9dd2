"""Everything of this package on one store, put together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from flowrunner.clock import Clock
from flowrunner.errors import Conflict, StoreRefused
from flowrunner.identity.accounts import Accounts
from flowrunner.identity.audit import AuditLog
from flowrunner.identity.credentials import Credentials, Issued, Sealer
from flowrunner.identity.entries import Entries
from flowrunner.identity.gate import Gate
from flowrunner.identity.jwt import ForeignIssuer, Logins
from flowrunner.identity.passwords import Passwords
from flowrunner.identity.principal import SERVER, Actor
from flowrunner.identity.tokens import Randomness, new_token
from flowrunner.identity.users import Users
from flowrunner.ports.documents import SYSTEM, DocumentStore, Put

ADMIN = "admin"
RECOVERY = Actor("command:account recover")  # by whoever has the store and its master key
DAY_SECONDS = 24 * 60 * 60
# Kinds of documents that go with their account.
ACCOUNT_KINDS = (
    "secret",
    "data-key",
    "flow",
    "workflow",
    "environment",
    "active-environment",
    "action-template",
    "test",
    "test-group",
    "test-result",
    "request",
    "store",
    "schedule",
    "webhook",
    "webhook-run",
    "webhook-done",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRun:
    """What the operator is given, this once: by the first start of a store, or when the token is lost."""

    account: str
    username: str
    token: Issued


class Identity:
    """The accounts of one store and who may get into them. Start it before use; `sealer` keeps AWS secret keys.

    `login_key` signs log-ins (or is given to `logins.use` before the first); `login_seconds` is how long they are good. With `relaxed` (development) any password will do.
    """

    def __init__(
        self,
        *,
        documents: DocumentStore,
        sealer: Sealer,
        clock: Clock,
        randomness: Randomness,
        login_key: bytes | None = None,
        login_seconds: int = DAY_SECONDS,
        issuers: Sequence[ForeignIssuer] = (),
        relaxed: bool = False,
        passwords: Passwords | None = None,
        account_kinds: tuple[str, ...] = ACCOUNT_KINDS,
    ) -> None:
        self._randomness = randomness
        self.entries = Entries(documents)
        self.audit = AuditLog(documents, clock)
        self.passwords = passwords or Passwords()
        self.users = Users(self.entries, self.passwords, self.audit, clock, randomness, any_password=relaxed)
        self.accounts = Accounts(self.entries, self.users, self.audit, clock, randomness, kinds=account_kinds)
        self.credentials = Credentials(self.entries, self.audit, sealer, clock, randomness)
        self.logins = Logins(login_key, clock, randomness, seconds=login_seconds)
        self.gate = Gate(
            entries=self.entries, users=self.users, credentials=self.credentials, passwords=self.passwords, logins=self.logins,
            audit=self.audit, clock=clock, randomness=randomness, issuers=tuple(issuers),
        )  # fmt: skip

    async def start(self, stack: AsyncExitStack) -> None:
        """Make ready; `stack` takes it down again."""
        await self.passwords.start(stack)

    async def first_run(self, account: str) -> FirstRun | None:
        """In a store without accounts: make the operator's, with a user `admin` and an API token; None where there is one already.

        The password of `admin` is random and told to nobody: it is set with the token. Of two servers that start at once one
        makes it, with its token in the same write. Raises StoreUnavailable.
        """
        if await self.entries.accounts.page(SYSTEM, limit=1):
            return None
        issued: list[Issued] = []

        def with_token(number: str, owner: str) -> list[Put]:
            token, created = self.credentials.new_token(number, owner, name="first run")
            issued.append(token)
            return [created]

        try:
            opened = await self.accounts.open(ADMIN, new_token(self._randomness).secret, SERVER, account=account, operator=True, also=with_token)
        except Conflict:
            return None
        return FirstRun(account=opened.account.id, username=ADMIN, token=issued[-1])

    async def recover(self) -> FirstRun:
        """A new API token for the operator, who has lost every other; what was issued before stays good.

        For who has the store itself at hand. Raises StoreRefused for a store without an operator.
        """
        after: str | None = None
        while page := await self.accounts.page(after=after):
            for account in page:
                for kept in await self.entries.users.all(account.id):
                    if kept.entry.operator:
                        token, created = self.credentials.new_token(account.id, kept.entry.id, name="recovery")
                        detail = f"token {token.entry.id}"
                        await self.audit.write(account.id, RECOVERY, "account:recover", account.id, [created, kept.unchanged()], detail=detail)
                        return FirstRun(account=account.id, username=kept.entry.username, token=token)
            after = page[-1].id
        raise StoreRefused("No user of the store is its operator.", remedy="Restore the store from a backup.")
