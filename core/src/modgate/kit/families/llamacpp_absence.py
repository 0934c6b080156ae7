"""Why llama.cpp's server does not serve a model: it still loads it, or it does not have it.

Source: ggml-org/llama.cpp, tools/server/server-models.cpp (commit 4010338),
`router_validate_model`; wire.md 2.6.
"""

from __future__ import annotations

import re

from modgate.plugin import GatewayError, ModelLoading, UpstreamFailed

# Of a router: a model of no such name, and one that it would have to be told to load.
_ABSENT = re.compile(r"model (?:'.*' )?not found|model is not loaded", re.DOTALL)


def absence(status: int, message: str) -> GatewayError | None:
    """The error of a model that is not there; None when the engine's message says nothing like it.

    A router answers with status 400 as if its client were at fault.  Its client is us, so it is the
    operator's fault, and another engine may have the model.
    """
    if status == 503 and "loading" in message.lower():
        return ModelLoading("the model is still loading")
    if status == 400 and _ABSENT.fullmatch(message):
        return UpstreamFailed("the engine does not serve this model")
    return None
