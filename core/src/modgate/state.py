"""What has lived: kept by identity, shared by all snapshots, so that a reload forgets nothing."""

from __future__ import annotations
