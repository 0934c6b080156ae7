"""What an operator may set, and what is known of a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from modgate.plugin import ModelFacts
from modgate_tts.wav import RATES

SLOWEST, FASTEST = 0.25, 4.0
Speed = Annotated[float, Field(ge=SLOWEST, le=FASTEST)]


class Config(BaseModel, frozen=True, extra="forbid"):
    """The `[plugin.tts]` section."""

    max_characters: int = Field(4096, ge=1, description="characters of one request")
    first_piece: int = Field(80, ge=20, description="longest first piece: speech begins with it")
    piece: int = Field(250, ge=40, description="longest other piece")
    width: int = Field(3, ge=1, le=16, description="pieces of one request at once")
    pause_ms: int = Field(0, ge=0, le=2000, description="silence between pieces")


class Facts(ModelFacts, frozen=True, extra="forbid"):
    """Facts of a `[model.NAME]` entry."""

    voices: tuple[str, ...] = Field((), description="its voices; empty = any name is passed on")
    voice_map: dict[str, str] = Field({}, description="other names for its voices: alloy = amy")
    blends: bool = Field(False, description="voices may be mixed: af_bella(2)+af_sky")
    max_characters: int | None = Field(
        None, ge=1, description="characters of one request, where it takes fewer"
    )
    max_piece: int | None = Field(None, ge=20, description="characters that its engine takes")
    speeds: tuple[Speed, Speed] = Field(
        (SLOWEST, FASTEST), description="slowest and fastest that it speaks; [1, 1] = it cannot"
    )
    sample_rate: int = Field(
        24_000, ge=RATES[0], le=RATES[1], description="of raw PCM from its engine, in hertz"
    )
    engine_format: Literal["pcm", "wav"] = Field(
        "pcm", description="what its engine is asked for: `wav` where it gives no raw PCM"
    )
