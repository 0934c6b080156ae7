"""Speech made by the gateway itself, for what listens."""

from __future__ import annotations

import openai

SAID = "The quick brown fox jumps over the lazy dog."


def say(client: openai.OpenAI, text: str) -> bytes:
    """A WAV file in which the text is spoken."""
    return client.audio.speech.create(
        model="tts-1", voice="alloy", input=text, response_format="wav"
    ).read()
