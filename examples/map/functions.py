"""The function of the map example."""

from __future__ import annotations

from typing import Any


def price_item(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Price one item; ``position`` is where it stands in the list."""
    item = event["item"]
    return {"position": event["position"], "id": item["id"], "totalCents": item["quantity"] * item["priceCents"]}
