"""What an operator may set, and what is known of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from modgate.plugin import ModelFacts


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.diarize]` section."""

    max_audio_s: float = Field(1800.0, gt=0, le=3600, description="longest recording, in seconds")
    file_bytes: int = Field(100 << 20, ge=1024, description="bytes of an upload")
    window_s: float = Field(1.5, ge=0.5, le=5, description="audio that is embedded at once")
    hop_s: float = Field(0.5, ge=0.25, le=5, description="from one window to the next")
    windows_per_call: int = Field(16, ge=1, le=64, description="windows that an engine is sent")
    width: int = Field(4, ge=1, le=64, description="calls of one request at once")
    join_s: float = Field(0.5, ge=0, description="a shorter pause does not end a turn")


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry: how its embeddings are told apart."""

    metric: Literal["cosine", "euclidean"] = Field("cosine", description="of its embeddings")
    threshold: float = Field(0.7, gt=0, description="voices farther apart are two speakers")
