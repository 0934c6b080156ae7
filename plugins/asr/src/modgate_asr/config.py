"""What an operator may set, and what is known of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from modgate.plugin import ModelFacts


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.asr]` section."""

    window_s: float = Field(30.0, ge=5, le=600, description="longest piece of audio in one call")
    least_window_s: float = Field(18.0, ge=1, description="a cut at silence is not sought earlier")
    overlap_s: float = Field(2.0, ge=0, le=5, description="overlap where no silence was found")
    silence_ms: int = Field(300, ge=20, le=5000, description="shortest silence to cut in")
    width: int = Field(8, ge=1, le=64, description="pieces of one request at once")
    max_audio_s: float = Field(18_000, gt=0, description="longest audio of one request, in seconds")
    file_bytes: int = Field(100 << 20, ge=1024, description="bytes of an upload")


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry."""

    languages: tuple[str, ...] = Field((), description="ISO 639-1 codes; empty = any")
    window_s: float | None = Field(None, ge=1, description="the engine's own longest piece")
    translates: bool = Field(True, description="whether it can translate to English")
    timestamps: Literal["word", "segment", "none"] = Field(
        "word", description="the finest times it gives; `none`: it answers plain `json` only"
    )
    streams: bool = Field(False, description="whether its engine can stream a transcript")
    diarizes: bool = Field(False, description="whether it says who speaks (`diarized_json`)")
    logprobs: bool = Field(False, description="whether it gives log probabilities of tokens")
