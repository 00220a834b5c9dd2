"""The functions of the order example: handlers as AWS Lambda calls them, ``handler(event, context)``.

They talk to nobody, so that they can be tried anywhere. What a real shop would do is played by ``simulate`` in the input:

- ``workSeconds``: how long each of them takes (0.1);
- ``paymentBusy``: how many times the payment gateway is too busy before it takes the charge (0). The workflow says how often
  it has retried, so the same input always goes the same way;
- ``paymentDeclined``: the card is refused.

With ``ORDER_LEDGER=FILE`` in their environment they keep a ledger outside of FlowRunner: a JSON line when a handler begins and one
when its effect is done, each on disk before the handler goes on. It shows what really happened, whatever a crash interrupts.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

Event = dict[str, Any]

STOCK = 100  # of each article
BEGIN, EFFECT = "begin", "effect"


class InvalidOrder(Exception):
    """The order cannot be carried out as it is."""


class OutOfStock(Exception):
    """There is not enough of an article."""


class PaymentGatewayBusy(Exception):
    """The gateway takes no charges now; nothing was charged."""


class PaymentDeclined(Exception):
    """The card was refused."""


def validate_order(event: Event, context: Any) -> Event:
    """Check the order and add its total."""
    _begin(context, event)
    items = event.get("items")
    if not event.get("orderId") or not items:
        raise InvalidOrder("An order has an orderId and at least one item.")
    for item in items:
        if item["quantity"] < 1:
            raise InvalidOrder(f"The quantity of {item['sku']} is {item['quantity']}.")
    order = {**event, "totalCents": sum(item["quantity"] * item["priceCents"] for item in items)}
    return _done(context, event, order)


def reserve_inventory(event: Event, context: Any) -> Event:
    """Put the articles aside."""
    _begin(context, event)
    for item in event["items"]:
        if item["quantity"] > STOCK:
            raise OutOfStock(f"{item['quantity']} of {item['sku']} were ordered, there are {STOCK}.")
    return _done(context, event, {"reservation": f"res-{event['orderId']}", "articles": len(event["items"])})


def process_payment(event: Event, context: Any) -> Event:
    """Charge the card under the order's id, which a gateway charges only once."""
    order, retry = event["order"], event["retry"]
    simulate = order.get("simulate", {})
    _begin(context, order, retry=retry)
    if retry < simulate.get("paymentBusy", 0):
        raise PaymentGatewayBusy("The gateway takes no charges at the moment.")
    if simulate.get("paymentDeclined"):
        raise PaymentDeclined("The card was refused.")
    return _done(context, order, {"payment": f"pay-{order['orderId']}", "chargedCents": order["totalCents"], "retries": retry})


def notify_customer(event: Event, context: Any) -> Event:
    """Send the mail that the order has come in."""
    _begin(context, event)
    return _done(context, event, {"notified": event["customer"]["email"], "status": "sent"})


def prepare_shipping(event: Event, context: Any) -> Event:
    """Pack, and print the label."""
    _begin(context, event)
    return _done(context, event, {"parcel": f"box-{event['orderId']}", "to": event["customer"]["city"]})


def confirm_order(event: Event, context: Any) -> Event:
    """Close the order."""
    _begin(context, event)
    return _done(context, event, {"orderId": event["orderId"], "status": "confirmed", "totalCents": event["totalCents"]})


def release_inventory(event: Event, context: Any) -> Event:
    """Undo the reservation, if there is one."""
    _begin(context, event)
    return _done(context, event, {"released": f"res-{event['orderId']}"})


def refund_payment(event: Event, context: Any) -> Event:
    """Give the money back, if it was charged."""
    _begin(context, event)
    return _done(context, event, {"refunded": f"pay-{event['orderId']}"})


def cancel_shipping(event: Event, context: Any) -> Event:
    """Unpack, if it was packed."""
    _begin(context, event)
    return _done(context, event, {"cancelled": f"box-{event['orderId']}"})


def _begin(context: Any, order: Event, **more: Any) -> None:
    _note(BEGIN, context, order, more)
    time.sleep(order.get("simulate", {}).get("workSeconds", 0.1))


def _done(context: Any, order: Event, result: Event) -> Event:
    _note(EFFECT, context, order, {})
    return result


def _note(phase: str, context: Any, order: Event, more: Event) -> None:
    """Write a line of the ledger; it is on disk when this returns."""
    path = os.environ.get("ORDER_LEDGER")
    if not path:
        return
    entry = {"phase": phase, "function": context.function_name, "order": order.get("orderId"), "key": context.idempotency_key, **more}
    ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, json.dumps(entry).encode() + b"\n")  # one write: lines of handlers that run at once stay whole
        os.fsync(ledger)
    finally:
        os.close(ledger)
