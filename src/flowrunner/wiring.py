"""The one place that knows concrete classes: settings in, a running application out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import structlog
from litestar.types import ASGIApp

from flowrunner.api.app import create_app
from flowrunner.api.authoring import RESERVED_IDS, Authoring, Beginner
from flowrunner.api.aws import AwsEndpoint, BearerOr, Development, KnownOr, Service, Signed
from flowrunner.api.denials import Denials
from flowrunner.api.identify import DevAuthenticator, GateAuthenticator
from flowrunner.api.openings import Openings
from flowrunner.api.proxies import Proxies
from flowrunner.api.ratelimits import Buckets, RateLimiter
from flowrunner.clock import Clock, SystemClock
from flowrunner.config import Settings, make_folder
from flowrunner.definitions.entries import Format
from flowrunner.definitions.hookevents import HookEvents
from flowrunner.definitions.scheduler import Scheduler
from flowrunner.definitions.schedules import Schedules
from flowrunner.definitions.service import Definitions
from flowrunner.definitions.templates import around
from flowrunner.definitions.testruns import TestRuns
from flowrunner.definitions.webhooks import Webhooks
from flowrunner.engine.engine import Engine
from flowrunner.engine.erasing import Eraser
from flowrunner.engine.feed import Feed
from flowrunner.engine.live import ExecutionAlreadyExists
from flowrunner.engine.points import Point, no_point
from flowrunner.errors import FlowRunnerError, NotFound, StoreRefused, StoreUnavailable
from flowrunner.formats import compile_revision, reader
from flowrunner.functiontable import functions_of
from flowrunner.identity.jwt import ForeignIssuer
from flowrunner.identity.sealed import AccessKeyResealer
from flowrunner.identity.service import FirstRun, Identity
from flowrunner.ids import parse_arn
from flowrunner.jsonvalue import JSONValue, dumps
from flowrunner.limits import AWS_RATES, MIB, PROFILES, Limits, Rate
from flowrunner.ports.definitions import Machine
from flowrunner.ports.store import Store
from flowrunner.ports.tasks import Child, ChildStart
from flowrunner.stores.open import open_store
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.function_files import file_faults
from flowrunner.tasks.functions import Function
from flowrunner.tasks.javascript.calls import ScriptLimits
from flowrunner.tasks.mocks import read_mocks
from flowrunner.tasks.nodes.command import Programs
from flowrunner.tasks.nodes.sqlitefile import erase_files
from flowrunner.tasks.registry import Registry
from flowrunner.telemetry.metrics import Metrics
from flowrunner.vault.derive import derived_key
from flowrunner.vault.keys import KeySource
from flowrunner.vault.vault import Vault

THIS_MACHINE = ("127.0.0.0/8", "::1/128")  # what HTTP tasks may call in --dev: there the server and all who reach it are on it
KEPT_EXPRESS = 10_000  # express executions live in memory; the oldest that have ended are forgotten
BURST_SECONDS = 2  # of its rate an account may use at once
DEV_PROGRAMS = ("echo",)
ACTIVITY_POLL_SECONDS = 60.0  # AWS: GetActivityTask holds the connection this long


class Application:
    """Everything a server needs, put together but not started: start it with an exit stack, serve `asgi`."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, point: Point = no_point) -> None:
        self.settings = settings
        self._point = point
        self.stopping = asyncio.Event()
        self.failure: StoreUnavailable | None = None  # why this process must end, once there is a reason
        clock = clock or SystemClock()
        limits = PROFILES[settings.limits]
        self.metrics = Metrics()
        self._log = structlog.get_logger("flowrunner.engine")
        self.store: Store = open_store(settings.store, clock=clock)
        self._express_store = open_store("memory:", clock=clock)
        self.vault = Vault(
            self.store.documents,
            key_source(settings),
            clock=clock,
            randomness=os.urandom,
            resealers=(AccessKeyResealer(),),
            alone=self.store.capabilities.exclusive,
        )
        self._functions = functions_of(settings)
        self.schedules = Schedules(self.store.documents, _Scheduled(self), clock)
        self._scheduler = Scheduler(self.schedules, clock, self._report)
        self._tasks = _registry(settings, self._functions, limits, clock, self)
        express = self._engine(self._express_store, limits, clock, None, kept_ended=KEPT_EXPRESS)
        self._express = express
        self.engine = self._engine(self.store, limits, clock, express)
        self.feed: Feed = self.engine.feed
        has_test_case = self._tasks.mocks.has_case
        self.identity = _identity(settings, self.store, self.vault, clock)
        self.identity.accounts.erase = self._erase
        self.first_run: FirstRun | None = None
        known = GateAuthenticator(self.identity.gate)
        service = Service(has_test_case=has_test_case, engine=self.engine, store=self.store, clock=clock, region=settings.region, limits=limits)
        limiter = _limiter(settings, clock, self.engine)
        signed = Signed(self.identity.gate.access_key, clock=clock, randomness=os.urandom, regions={settings.region}, used=self.identity.gate.used_access_key)
        aws = AwsEndpoint(
            service,
            KnownOr(self.identity.gate, Development(settings.account)) if settings.dev else BearerOr(self.identity.gate, signed),
            stopping=self.stopping,
            limiter=limiter,
            denials=Denials(self.identity.audit),
        )
        self.testruns = TestRuns(self.store, Beginner(self.engine), ended=self.feed.ended, clock=clock, report=self._report)
        self.webhooks = Webhooks(self.store, clock, self.vault.secrets)
        self._hookevents = HookEvents(self.webhooks, self.store, Beginner(self.engine), clock, self._report)
        self.feed.tap(self._hookevents.tap)
        self.authoring = self._authoring(limits, clock)
        self.asgi: ASGIApp = create_app(
            store=self.store,
            feed=self.feed,
            aws=cast("ASGIApp", aws),  # Litestar's alias names every message; the endpoint only needs mappings
            authenticator=DevAuthenticator(settings.account, known) if settings.dev else known,
            region=settings.region,
            observer=self.metrics,
            stopping=self.stopping,
            clock=clock,
            metrics=self.metrics.render,
            allowed_origins=settings.allowed_origins,
            only_loopback_hosts=settings.dev,
            identity=self.identity,
            vault=self.vault,
            registration="open" if settings.dev else settings.registration,
            proxies=Proxies(settings.trusted_proxies),
            openings=Openings(per_address=per_peer(settings, "sockets_per_address"), per_account=per_peer(settings, "sockets_per_account")),
            limiter=limiter,
            authoring=self.authoring,
        )

    def _authoring(self, limits: Limits, clock: Clock) -> Authoring:
        nodes = self._tasks.nodes

        def definitions(form: Format, **more: Any) -> Definitions:
            parse, check_scripts = reader(form, nodes.known), self._tasks.check_scripts
            return Definitions(self.store, form=form, parse=parse, clock=clock, randomness=os.urandom, check_scripts=check_scripts, **more)

        return Authoring(
            store=self.store,
            runner=self.engine,
            flows=definitions("flow"),
            workflows=definitions("workflow", reserved=RESERVED_IDS, around=partial(around, self.store)),
            cases=definitions("test", around=partial(around, self.store)),
            schedules=self.schedules,
            testruns=self.testruns,
            webhooks=self.webhooks,
            clock=clock,
            region=self.settings.region,
            kinds=nodes.infos,
            plugins=nodes.plugins,
            limits=limits,
            secrets=self.vault.secrets,
            audit=self.identity.audit,
        )

    def _engine(self, store: Store, limits: Limits, clock: Clock, express: Engine | None, *, kept_ended: int | None = None) -> Engine:
        return Engine(
            store=store,
            compiler=lambda revision: compile_revision(revision, self._tasks.nodes.known),
            tasks=self._tasks,
            clock=clock,
            randomness=os.urandom,
            region=self.settings.region,
            limits=limits,
            express=express,
            observer=self.metrics,
            kept_ended=kept_ended,
            drain_seconds=self.settings.drain_seconds,
            lease_seconds=self.settings.lease_seconds,
            point=self._point,
            report=self._report,
        )

    def _report(self, event: str, detail: dict[str, Any]) -> None:
        with suppress(OSError, ValueError):  # a log that cannot be written, or is closed, holds no execution up
            self._log.warning(event, **detail)

    async def start(self, stack: AsyncExitStack) -> None:
        """Open the store, start the tasks, take up what was running; `stack` takes all of it down again, in reverse.

        Raises StoreRefused, StoreUnavailable, ConfigurationError.
        """
        make_folder(self.settings.store)
        for store in (self.store, self._express_store):
            store.on_fatal(self._fatal)
            await store.start(stack)
        await self._open_accounts(stack)
        for fault in file_faults(self._functions.values()):
            self._report("function_not_usable", {name: value for name, value in fault._asdict().items() if value})
        await self._tasks.start(stack)
        for engine in (self._express, self.engine):
            await engine.start(stack)
        await self._scheduler.start(stack)
        await self.testruns.start(stack)
        await self._hookevents.start(stack)
        stack.push_async_callback(_ended, asyncio.create_task(self._finish_what_was_begun()))

    async def _finish_what_was_begun(self) -> None:
        """Go on with deletions of accounts and rotations of keys that a server began; whoever is served meanwhile does not wait for it."""
        for what, work in (("accounts_not_deleted", self._finish_deletions), ("keys_not_rotated", self._finish_rotations)):
            try:
                await work()
            except FlowRunnerError as error:
                self._report(what, {"error": error.message})
            except Exception:  # noqa: BLE001 - nobody awaits this task: a fault of ours must not vanish with it
                self._log.exception(what)

    async def _finish_deletions(self) -> None:
        for account, error in (await self.identity.accounts.finish_deletions()).failures.items():
            self._log.error("account_not_deleted", account=account, error=str(error), exc_info=None if isinstance(error, FlowRunnerError) else error)

    async def _finish_rotations(self) -> None:
        for account, error in (await self.vault.rotation.resume()).failures.items():
            self._report("keys_not_rotated", {"account": account, "error": error.message, "remedy": error.remedy})

    async def _open_accounts(self, stack: AsyncExitStack) -> None:
        await self.vault.start()
        secret = self.settings.jwt_secret
        self.identity.logins.use(await derived_key(self.vault.keyring, "log-ins") if secret is None else secret.encode())
        await self.identity.start(stack)
        if not self.settings.dev:
            self.first_run = await self.identity.first_run(self.settings.account)

    async def _erase(self, account: str) -> None:
        await self.webhooks.erase(account)
        await Eraser(self.engine, self.store, self.engine.clock).erase(account)
        if self.settings.database_folder is not None:
            await asyncio.to_thread(erase_files, self.settings.database_folder, account)

    def _fatal(self, failure: StoreUnavailable) -> None:
        """The store is broken: nothing more is acknowledged, and `stopping` asks whoever serves to end the process."""
        self._log.critical("store_failed", error=str(failure))
        self.failure = failure
        self.stopping.set()

    # --- what tasks may ask of the engine (ports.tasks.ExecutionStarter and tasks.nested.Callbacks)

    async def start_child(self, start: ChildStart) -> Child:
        """Start a nested execution."""
        return await self.engine.start_child(start)

    async def answer(self, token: str, *, account: str, output: str | None = None, error: str | None = None, cause: str | None = None) -> None:
        """Answer a task token."""
        await self.engine.answer(token, account=account, output=output, error=error, cause=cause)

    async def heartbeat(self, token: str, *, account: str) -> None:
        """Tell that the work of a task token goes on."""
        await self.engine.heartbeat(token, account=account)

    async def poll_activity(self, account: str, activity_arn: str, worker: str | None) -> tuple[str, str] | None:
        """Wait for an activity's task; raises NotFound for an activity that the account does not have."""
        arn = parse_arn(activity_arn)
        if arn is None or arn.account != account or await self.store.definitions.activity(account, arn.name) is None:
            raise NotFound("activity", activity_arn)
        return await self.engine.next_activity_task(activity_arn, worker=worker, wait_seconds=ACTIVITY_POLL_SECONDS)


class _Scheduled:
    """How schedules reach flows, workflows and the engine (ports.schedules.ScheduleStarter)."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def check(self, account: str, format: Format, target: str) -> None:  # noqa: A002 - the port's word
        """Raise NotFound for a target that is not there."""
        await self._machine(account, format, target)

    async def start(self, account: str, format: Format, target: str, *, name: str, input: JSONValue) -> str:  # noqa: A002 - the port's words
        """Begin the execution of this name, or give the one that was begun before."""
        machine = await self._machine(account, format, target)
        if format == "workflow":
            input = await self._application.authoring.input_of(account, input if isinstance(input, dict) else {})  # noqa: A001
        try:
            return (await self._application.engine.start_execution(machine, name=name, input=dumps(input))).id
        except ExecutionAlreadyExists as taken:
            return taken.head.id

    async def _machine(self, account: str, form: Format, target: str) -> Machine:
        authoring = self._application.authoring
        return await (authoring.flows if form == "flow" else authoring.workflows).machine(account, target)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def build(settings: Settings, *, clock: Clock | None = None, point: Point = no_point) -> Application:
    """The application of these settings; raises ConfigurationError."""
    return Application(settings, clock=clock, point=point)


def per_peer(settings: Settings, name: str) -> int | None:
    """A limit of one address or account; None on a server for development, where all callers are one, unless it is set."""
    return None if settings.dev and name not in settings.origins else int(getattr(settings, name))


def key_source(settings: Settings) -> KeySource:
    """Master keys: stated by the operator, or made once beside the store; a store in memory has one of its own."""
    named = settings.master_key_file if "master_key_file" in settings.origins else None
    keys = [settings.master_key, *settings.previous_master_keys] if settings.master_key is not None else []
    own = None if settings.store.startswith("memory:") else settings.master_key_file
    if settings.store.startswith("sqlite:///"):
        own = Path(unquote(urlsplit(settings.store).path[1:])).with_name("master.key")
    return KeySource(randomness=os.urandom, value=" ".join(keys) or None, file=named, own_file=own)


async def recovered(settings: Settings, store: Store) -> FirstRun:
    """A new token for the operator of an open store, for who has its master key too.

    Raises StoreRefused (no accounts yet, no operator, or the key is another one), ConfigurationError (the key cannot be read).
    """
    clock = SystemClock()
    vault = Vault(store.documents, key_source(settings), clock=clock, randomness=os.urandom)
    identity = _identity(settings, store, vault, clock)
    if not await identity.accounts.page(limit=1):
        raise StoreRefused("The store has no accounts yet.", remedy="The first start of a server makes the operator's, and prints its token.")
    await vault.keyring.state()  # a key is looked for, none is made
    await vault.start()
    return await identity.recover()


def _identity(settings: Settings, store: Store, vault: Vault, clock: Clock) -> Identity:
    issuers = []
    if settings.jwt_issuer is not None:
        issuers = [
            ForeignIssuer.of_files(
                clock,
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience or "flowrunner",
                public_key_file=settings.jwt_public_key_file,
                jwks_file=settings.jwt_jwks_file,
                claim=settings.jwt_account_claim,
            )
        ]
    return Identity(
        documents=store.documents,
        sealer=vault.sealer,
        clock=clock,
        randomness=os.urandom,
        login_seconds=int(settings.token_expiration),
        issuers=issuers,
        relaxed=settings.dev,
    )


def _registry(settings: Settings, functions: Mapping[str, Function], limits: Limits, clock: Clock, application: Application) -> Registry:
    return Registry(
        starter=application,
        callbacks=application,
        functions=functions,
        mocks=read_mocks(settings.mock_config) if settings.mock_config is not None else None,
        policy=EgressPolicy((*settings.http_allow, *(THIS_MACHINE if settings.dev else ()))),
        endpoint_url=settings.aws_endpoint_url,
        workers=settings.function_workers,
        limits=limits,
        clock=clock,
        secrets=application.vault.secrets,
        documents=application.store.documents,
        programs=programs_of(settings),
        schedules=application.schedules,
        script_workers=settings.script_workers,
        script_queue=settings.script_queue,
        script_limits=ScriptLimits(milliseconds=round(settings.script_timeout_seconds * 1000), memory_bytes=settings.script_memory_mebibytes * MIB),
        database_folder=settings.database_folder,
    )


def programs_of(settings: Settings) -> Programs:
    """What nodes may start; for development the one program of the first examples, unless the operator says otherwise."""
    allow = DEV_PROGRAMS if settings.dev and "command_allow" not in settings.origins else settings.command_allow
    return Programs(allow, settings.command_folder)


def _limiter(settings: Settings, clock: Clock, engine: Engine) -> RateLimiter | None:
    """What counts the requests of accounts; None where nothing is limited."""
    rates = AWS_RATES if settings.request_rates == "aws" else {}
    asked = settings.requests_per_second
    every = Rate(BURST_SECONDS * asked, asked) if asked else None
    return Buckets(rates, monotonic=clock.monotonic, every=every, nodes=engine.nodes) if rates or every else None
