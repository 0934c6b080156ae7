"""What a client reads of an engine's refusal."""

from __future__ import annotations

import orjson
import pytest

from modgate.plugin import Body, Call, Json, Served
from modgate_tts.dialects import SpeechHome, SpeechKokoro, SpeechSpeaches

TEXT = "vendor/voices does not speak so fast"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (SpeechHome, {"error": {"message": TEXT}}),
        (SpeechKokoro, {"detail": {"error": "validation_error", "message": TEXT}}),
        (SpeechSpeaches, {"detail": TEXT}),
    ],
)
def test_it_has_the_clients_name_of_the_model(kind: type[SpeechHome], said: Json) -> None:
    call = Call(path="/v1/audio/speech", body=Body.of(input="hi", voice="v"))
    served = Served(asked="m", model="m", name="vendor/voices")
    error = kind(call, served).refusal(400, {}, orjson.dumps(said))

    assert error.message == "m does not speak so fast"
