"""What a plugin is given of a request, beside its body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

import pytest
from gateways import client, start_words
from made_plugins import Words, plugin

from modgate.plugin import Endpoint, Refused, Request


@pytest.mark.parametrize(
    ("url", "query"),
    [
        ("/v1/words", {}),
        ("/v1/words?tier=fast&note=a%20b&empty=", {"tier": "fast", "note": "a b", "empty": ""}),
    ],
)
async def test_shape_sees_the_query_of_the_url(
    tmp_path: Path, url: str, query: Mapping[str, str]
) -> None:
    seen: list[Mapping[str, str]] = []

    class Asked(Words):
        def endpoints(self) -> Iterable[Endpoint]:
            yield Endpoint(path="/v1/words", shape=self.shape)

        def shape(self, request: Request) -> NoReturn:
            seen.append(request.query)
            raise Refused(None, "seen", "that is all")

    made = plugin(modgate_modalities=[Asked])
    async with (
        await start_words(tmp_path, made) as running,
        client() as session,
        session.post(running.url + url, json={"model": "w"}, headers=running.headers) as reply,
    ):
        status = reply.status

    assert status == 400
    assert seen == [query]
