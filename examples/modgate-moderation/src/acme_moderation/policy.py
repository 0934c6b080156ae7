"""A policy that has a prompt judged before a chat model sees it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import ClassVar

import orjson

from acme_moderation.config import MODERATION, GuardConfig
from acme_moderation.modality import Scores, judged, scores_of
from modgate.plugin import (
    Allow,
    Ask,
    Caller,
    Decision,
    Deny,
    Json,
    Plan,
    PlanPolicy,
    Request,
)

CODE = "content_policy_violation"
REFUSAL = "the prompt was refused by a moderation model ({}); change it and try again"
UNREADABLE = "the prompt must be text, so that it can be judged by a moderation model"


class Guard(PlanPolicy[GuardConfig]):
    """Denies what a moderation model flags.

    It reads the calls in the home wire of chat, so it sees what an engine would see, from whatever
    route it came.  Every text of every message is judged, images and tools are not.
    """

    name = MODERATION
    config_type = GuardConfig
    modalities: ClassVar = frozenset({"llm", "vlm"})
    budget_s = 2.0

    def decide(
        self, caller: Caller, request: Request, plan: Plan
    ) -> Generator[Ask, Json, Decision]:
        """Ask once, for all texts together."""
        texts = texts_of(plan)
        if texts is None:
            return Deny(code="unsupported_input", message=UNREADABLE, status=400)
        if not texts:
            return Allow()
        [event] = yield Ask([judged(texts, self.config.model)])
        if over := self._over(scores_of(event, len(texts))):
            message = REFUSAL.format(", ".join(over))
            return Deny(code=CODE, message=message, status=self.config.status)
        return Allow()

    def _over(self, scores: list[Scores]) -> list[str]:
        wanted = self.config.categories
        return sorted(
            {
                name
                for each in scores
                for name, score in each.items()
                if score >= self.config.threshold and (wanted is None or name in wanted)
            }
        )


def texts_of(plan: Plan) -> list[str] | None:
    """Each text that the plan's calls hold, once; None where a prompt is no text (token ids)."""
    assert isinstance(plan.calls, tuple | list)
    found: list[str] = []
    for call in plan.calls:
        members = call.body.members()
        messages = orjson.loads(members.get("messages", b"[]"))
        found += [text for message in messages for text in _contents(message.get("content"))]
        prompts = orjson.loads(members.get("prompt", b"[]"))
        for prompt in [prompts] if isinstance(prompts, str) else prompts:
            if not isinstance(prompt, str):
                return None
            found.append(prompt)
    return list(dict.fromkeys(text for text in found if text))


def _contents(content: Json) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]
