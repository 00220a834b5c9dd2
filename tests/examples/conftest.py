from __future__ import annotations

from served_examples import served

__all__ = ["served"]
