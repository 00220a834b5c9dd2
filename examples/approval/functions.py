"""The function of the approval example."""

from __future__ import annotations

from typing import Any


def ask_for_approval(event: dict[str, Any], context: Any) -> None:
    """Ask; a real one would send a mail with a link. What it returns is not the answer: that comes with the token."""
    purchase = event["purchase"]
    print(f"Please approve {purchase['what']} for {purchase['amountCents'] / 100:.2f}:")
    print(f"  python approve.py {event['execution']}")
    print(f'or, with the token itself: aws stepfunctions send-task-success --task-output \'{{"by": "me"}}\' --task-token {event["token"]}')
