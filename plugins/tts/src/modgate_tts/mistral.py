"""Speech as Mistral's SDK asks for it and reads it: as JSON, whole or in events.

Source: mistralai 3.7.0, `audio.speech` (SpeechRequest, SpeechResponse, SpeechStreamEvents).
"""

from __future__ import annotations

import base64

from modgate.plugin import Fields, JsonObject, Request

DELTA, DONE = "speech.audio.delta", "speech.audio.done"
# Members that cannot be left out: the speech would have another voice, or say a word otherwise.
UNSUPPORTED = ("ref_audio", "conversation_history", "phoneme_hints")


def is_asked(request: Request, fields: Fields) -> bool:
    """Whether the client is Mistral's.  Refused when it asks for what no engine does."""
    if request.surface.name != "mistral":
        return False
    for name in UNSUPPORTED:
        if name in fields:
            raise fields.fault(name, "unsupported_value", f"'{name}' is not supported")
    return True


def written(audio: bytes) -> JsonObject:
    """The whole reply; an event has the same members."""
    return {"audio_data": base64.b64encode(audio).decode()}


def delta(audio: bytes) -> JsonObject:
    """An event with more audio."""
    return {"type": DELTA, **written(audio)}


def done(characters: int, speech_ms: int) -> JsonObject:
    """The last event.  It counts tokens, as the SDK knows nothing else: characters and speech."""
    usage = {
        "prompt_tokens": characters,
        "completion_tokens": speech_ms,
        "total_tokens": characters + speech_ms,
    }
    return {"type": DONE, "usage": usage}
