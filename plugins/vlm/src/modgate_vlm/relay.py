"""Relaying a chat with pictures: their tokens as the engine says, else by the family's formula."""

from __future__ import annotations

from collections.abc import Sequence

from modgate.kit.chat_relay import PLAIN, ChatRelay, Style
from modgate.plugin import Outcome, Units, Usage


class PictureRelay(ChatRelay):
    """One chat.  `image_tokens` None: no formula is known, and only the engine can say."""

    sees = True

    def __init__(
        self,
        *,
        stream: bool,
        include_usage: bool,
        prompt: int,
        extra: Units | None = None,
        image_tokens: int | None = None,
        style: Style = PLAIN,
    ) -> None:
        super().__init__(
            stream=stream, include_usage=include_usage, prompt=prompt, extra=extra, style=style
        )
        self._image_tokens = image_tokens if extra else None

    def usage(self, outcomes: Sequence[Outcome]) -> Usage:
        """The engine's own count; its prompt tokens once it said them are the formula's bound."""
        usage = super().usage(outcomes)
        read = usage.units.get("input_tokens", 0)
        if not usage.exact or self._image_tokens is None or "image_tokens" in usage.units:
            return usage
        pictures = Units(image_tokens=min(read, self._image_tokens))
        return Usage(usage.units + pictures, usage.exact, usage.by, usage.other)
