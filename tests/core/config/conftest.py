"""A folder for configuration files."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_configs import Config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path)
