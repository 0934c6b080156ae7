"""What must not reach piper's server."""

from __future__ import annotations

import pytest

from modgate.plugin import Body, Call, Refused, Served
from modgate_tts.dialects import SpeechPiper

SERVED = Served(asked="m", model="m", name="joe")


@pytest.mark.parametrize("voice", ["../secrets/other", "a/b", "a\\b"])
def test_a_voice_is_no_path(voice: str) -> None:
    body = Body.of(model="m", input="hello", voice=voice)
    dialect = SpeechPiper(Call(path="/v1/audio/speech", body=body, reply="chunked"), SERVED)

    with pytest.raises(Refused) as refused:
        dialect.encode()

    assert refused.value.field == "voice"
