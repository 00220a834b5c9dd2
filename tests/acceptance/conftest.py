from __future__ import annotations

import pytest
from order_server import OrderServer


@pytest.fixture
def server(tmp_path):
    """A server that runs."""
    made = OrderServer(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()
