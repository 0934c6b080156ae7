"""The JSON border: the one place where a value of unknown shape has a type."""

from __future__ import annotations

from typing import Any

Json = Any  # JSON border: whatever a client or an engine sent, until Fields has read it
JsonObject = dict[str, Json]
