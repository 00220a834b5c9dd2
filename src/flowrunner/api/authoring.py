"""What the routes of flows, workflows and their executions work with, and how an execution is begun and stopped for a caller."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from litestar import Request

from flowrunner.api.idempotency import key_of
from flowrunner.api.kinds import KindInfo
from flowrunner.api.page import MAX_LIMIT
from flowrunner.api.problems import Refused, of_status
from flowrunner.definitions.service import Definitions
from flowrunner.engine.live import ENDED, ExecutionAlreadyExists
from flowrunner.errors import AlreadyEnded, LimitExceeded
from flowrunner.jsonvalue import JSONValue, dumps
from flowrunner.limits import AWS, Limits
from flowrunner.ports.definitions import Machine
from flowrunner.ports.executions import ExecutionStore, Head
