"""Webhooks under ``/api/v1/webhooks`` (F): where events of flows and workflows are posted, and what has become of the deliveries."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Literal

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from flowrunner.api.accounts import NO_STORE, answer
from flowrunner.api.authoring import Authoring, Caller, after_id, page_answer
from flowrunner.api.bodies import body_of
from flowrunner.api.contract import CURSOR, LIMIT, Contract
from flowrunner.api.identify import actor_of
from flowrunner.api.page import cursor, limit_of, place_of
from flowrunner.api.preconditions import expected_of, tag
from flowrunner.definitions.records import Stored
from flowrunner.definitions.webhooks import EVENTS, Retries, Target, Webhook, delivering, secret_name
from flowrunner.errors import AccessDenied, InvalidDocument
from flowrunner.identity.permissions import Permission
from flowrunner.ports.executions import ExecutionQuery, Head
from flowrunner.vault.writing import Write
from flowrunner.views.records import moment

WEBHOOKS = "/api/v1/webhooks"
WEBHOOK = f"{WEBHOOKS}/{{webhook:str}}"
_READ, _WRITE = Permission.MACHINES_READ, Permission.MACHINES_WRITE
MOST_SECRET = 1000  # characters
_STATUS: dict[str, Literal["pending", "delivered", "failed"]] = {"RUNNING": "pending", "PENDING_REDRIVE": "pending", "SUCCEEDED": "delivered"}


class WebhookAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where events of a flow or a workflow are posted.

    `events` are all ends of executions unless given, with `node_id` those of that node or step. `secret` is the signing key. No answer about
    webhooks shows it: it is the account's secret `webhooks/` and the id. When a webhook is replaced, it stays unless it is given, and null removes it.
    """

    url: str
    flow_id: str | None = None
    workflow_id: str | None = None
    node_id: str | None = None
    events: list[str] | None = None
    headers: dict[str, str] = {}
    secret: str | UnsetType | None = UNSET
    retry_config: Retries = Retries()
    enabled: bool = True

    def target(self) -> tuple[Target, str]:
        """The format and the id of what it is about; raises InvalidDocument unless one is named."""
        if (self.flow_id is None) is (self.workflow_id is None):
            raise InvalidDocument("A webhook is about either a flow or a workflow: give flow_id or workflow_id.", pointer="/flow_id")
        return ("workflow", self.workflow_id) if self.workflow_id is not None else ("flow", str(self.flow_id))

    def wanted(self, before: Webhook) -> Webhook:
        """What a subscription becomes by this."""
        form, target = self.target()
        usual = EVENTS[form][-2:] if self.node_id is not None else EVENTS[form][:-2]
        return msgspec.structs.replace(
            before,
            format=form,
            target=target,
            url=self.url,
            node=self.node_id,
            events=usual if self.events is None else tuple(dict.fromkeys(self.events)),
            headers=self.headers,
            retries=self.retry_config,
            enabled=self.enabled,
        )


class WebhookInfo(msgspec.Struct, kw_only=True):
    """A webhook; `signed` says whether it has a secret. Times are RFC 3339 UTC."""

    id: str
    url: str
    flow_id: str | None
    workflow_id: str | None
    node_id: str | None
    events: list[str]
    headers: dict[str, str]
    signed: bool
    retry_config: Retries
    enabled: bool
    created_at: str
    updated_at: str


class WebhookPage(msgspec.Struct, kw_only=True):
    """One page, by id; `next_cursor` is null on the last one."""

    items: list[WebhookInfo]
    next_cursor: str | None


class DeliveryInfo(msgspec.Struct, kw_only=True):
    """One event for one receiver. `id` is the event's; `delivery_execution_id` the execution that delivers it, whose log has each try. Times are RFC 3339 UTC."""

    id: str
    event: str
    execution_id: str
    status: Literal["pending", "delivered", "failed"]
    created_at: str
    ended_at: str | None
    error: str | None
    cause: str | None
    delivery_execution_id: str


class DeliveryPage(msgspec.Struct, kw_only=True):
    """One page, newest first; `next_cursor` is null on the last one."""

    items: list[DeliveryInfo]
    next_cursor: str | None


def shown(webhook: Webhook) -> WebhookInfo:
    """A webhook as F shows it."""
    return WebhookInfo(
        id=webhook.id,
        url=webhook.url,
        flow_id=webhook.target if webhook.format == "flow" else None,
        workflow_id=webhook.target if webhook.format == "workflow" else None,
        node_id=webhook.node,
        events=list(webhook.events),
        headers=webhook.headers,
        signed=webhook.signed,
        retry_config=webhook.retries,
        enabled=webhook.enabled,
        created_at=moment(webhook.created_at),
        updated_at=moment(webhook.updated_at),
    )


def delivery(webhook: str, head: Head) -> DeliveryInfo:
    """An execution that delivers, named EXECUTION-PLACE-EVENT, as F shows it."""
    execution, place, event = head.name.split("-", 2)
    return DeliveryInfo(
        id=f"{webhook}.{execution}.{place}",
        event=event,
        execution_id=execution,
        status=_STATUS.get(head.status, "failed"),
        created_at=moment(head.started_at),
        ended_at=None if head.stopped_at is None else moment(head.stopped_at),
        error=head.error,
        cause=head.cause,
        delivery_execution_id=head.id,
    )


def _told(stored: Stored[Webhook], status: int = 200) -> Response[bytes]:
    made = answer(shown(stored.entry), status)
    made.headers["etag"] = tag(stored.tag)
    return made


def _check_secret(request: Caller, given: WebhookAsked) -> None:
    """Raise AccessDenied or InvalidDocument for a secret that may not be set."""
    if given.secret is UNSET:
        return
    if Permission.SECRETS_WRITE not in request.user.permissions:
        raise AccessDenied(f"The secret of a webhook needs the permission {Permission.SECRETS_WRITE}.")
    if isinstance(given.secret, str) and not 0 < len(given.secret) <= MOST_SECRET:
        raise InvalidDocument(f"A secret has 1 to {MOST_SECRET} characters.", pointer="/secret")


def routes(authoring: Authoring) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    return [*_collection(authoring), *_one(authoring), _deliveries(authoring)]


def _noted(authoring: Authoring, request: Caller, webhook: str, act: str = "secret.set") -> Write | None:
    """The write of a secret, entered in the audit log."""
    audit = authoring.audit
    return None if audit is None else partial(audit.write, request.user.account, actor_of(request.scope, request.user), act, secret_name(webhook))


async def _check_target(authoring: Authoring, request: Caller, given: WebhookAsked) -> None:
    form, target = given.target()
    await (authoring.flows if form == "flow" else authoring.workflows).machine(request.user.account, target)


def _collection(authoring: Authoring) -> list[HTTPRouteHandler]:
    webhooks = authoring.webhooks

    @get(WEBHOOKS, permission=_READ, operation_id="listWebhooks", contract=Contract(gives={200: WebhookPage}, query=(LIMIT, CURSOR)))
    async def list_webhooks(request: Caller) -> Response[bytes]:
        """Webhooks by id: ``?limit=&cursor=``."""
        limit, question = limit_of(request.query_params.get("limit")), f"{request.user.account}\nwebhooks"
        found = await webhooks.page(request.user.account, after=after_id(request, question), limit=limit + 1)
        following = cursor(0, found[limit - 1].id, question) if len(found) > limit else None
        return page_answer(request, WebhookPage(items=[shown(one) for one in found[:limit]], next_cursor=following))

    @post(
        WEBHOOKS,
        permission=_WRITE,
        operation_id="createWebhook",
        contract=Contract(takes=WebhookAsked, gives={201: WebhookInfo}, fails=(404, 409), keyed=True),
    )
    async def create_webhook(request: Caller) -> Response[bytes]:
        """Post events from now on, also of what runs already."""
        given = await body_of(request, WebhookAsked)
        _check_secret(request, given)
        await _check_target(authoring, request, given)
        name = f"hook-{authoring.clock.now():011x}{secrets.token_hex(6)}"
        wanted = given.wanted(Webhook(id=name, format="flow", target="", url="", events=(), revision="", created_at=0, updated_at=0))
        secret = given.secret if isinstance(given.secret, str) else None
        told = _told(await webhooks.create(request.user.account, wanted, secret, _noted(authoring, request, name)), 201)
        told.headers["location"] = f"{WEBHOOKS}/{name}"
        return told

    return [list_webhooks, create_webhook]


def _one(authoring: Authoring) -> list[HTTPRouteHandler]:
    webhooks = authoring.webhooks

    @get(WEBHOOK, permission=_READ, operation_id="getWebhook", contract=Contract(gives={200: WebhookInfo}, fails=(404,)))
    async def get_webhook(request: Caller, webhook: FromPath[str]) -> Response[bytes]:
        """One webhook."""
        return _told(await webhooks.get(request.user.account, webhook))

    @put(
        WEBHOOK,
        permission=_WRITE,
        operation_id="replaceWebhook",
        contract=Contract(takes=WebhookAsked, gives={200: WebhookInfo}, fails=(404, 409, 412), tagged=True),
    )
    async def replace_webhook(request: Caller, webhook: FromPath[str]) -> Response[bytes]:
        """Replace a webhook; what is left out is as in a new one, but for the secret, which stays. What is on its way goes as it was."""
        given, account = await body_of(request, WebhookAsked), request.user.account
        _check_secret(request, given)
        write = _noted(authoring, request, webhook, "secret.delete" if given.secret is None else "secret.set")
        return _told(await webhooks.change(account, webhook, given.wanted, given.secret, expected=expected_of(request), write=write))

    @delete(WEBHOOK, permission=_WRITE, operation_id="deleteWebhook", status_code=200, contract=Contract(gives={204: None}, fails=(404, 409, 412), tagged=True))
    async def delete_webhook(request: Caller, webhook: FromPath[str]) -> Response[bytes]:
        """Remove a webhook and its secret; what is on its way and was signed fails."""
        await webhooks.delete(request.user.account, webhook, expected=expected_of(request), write=_noted(authoring, request, webhook, "secret.delete"))
        return Response(b"", status_code=204, headers=NO_STORE)

    return [get_webhook, replace_webhook, delete_webhook]


def _deliveries(authoring: Authoring) -> HTTPRouteHandler:
    @get(
        f"{WEBHOOK}/deliveries",
        permission=Permission.EXECUTIONS_READ,
        operation_id="listWebhookDeliveries",
        contract=Contract(gives={200: DeliveryPage}, fails=(404,), query=(LIMIT, CURSOR)),
    )
    async def list_deliveries(request: Caller, webhook: FromPath[str]) -> Response[bytes]:
        """The deliveries of a webhook, newest first: ``?limit=&cursor=``."""
        account, query, question = request.user.account, request.query_params, f"{request.user.account}\nwebhook\n{webhook}"
        limit, place = limit_of(query.get("limit")), place_of(query.get("cursor"), question)
        await authoring.webhooks.get(account, webhook)
        found = await authoring.executions.list(ExecutionQuery(account=account, machine=delivering(webhook), limit=limit + 1, after=place))
        following = cursor(found[limit - 1].started_at, found[limit - 1].id, question) if len(found) > limit else None
        return page_answer(request, DeliveryPage(items=[delivery(webhook, head) for head in found[:limit]], next_cursor=following))

    return list_deliveries
