"""The directories that are used where neither file nor command names one."""

from __future__ import annotations

import os
from pathlib import Path


def default_directory() -> Path:
    """Of the gateway's state."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "modgate"


def default_models_directory() -> Path:
    """Of model data, which all gateways of this user share."""
    if named := os.environ.get("MODGATE_DATA"):
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "modgate" / "models"
