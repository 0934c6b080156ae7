"""Whether the answer to a bad input is the right one."""

from __future__ import annotations

import json

from oracle.client import ClientRecord
from oracle.words import items, members

from junk.case import Case

DONE = b"data: [DONE]\n\n"


def judge(case: Case, client: ClientRecord) -> list[str]:
    """What is wrong with the answer, each line one fault."""
    took = client.ended_at - client.began_at
    wrong = [] if took <= case.within_s else [f"took {took:.2f} s of {case.within_s} s"]
    if case.how == "mute":
        wrong += [] if client.left_at is not None else ["was not dropped"]
    elif case.slowed and client.status == 429:
        wrong += _slowed(client)
    elif client.status != case.status:
        wrong.append(f"status {client.status}, not {case.status}: {client.body[:200]!r}")
    else:
        wrong += _answer(case, client)
    return [f"{case.name}: {text}" for text in wrong]


def _slowed(client: ClientRecord) -> list[str]:
    """Who has failed often is told to wait (algorithms.md 9)."""
    wait = client.headers.get("retry-after", "")
    return [] if wait.isdigit() and 1 <= int(wait) <= 120 else [f"retry-after {wait!r}"]


def _answer(case: Case, client: ClientRecord) -> list[str]:
    wrong = []
    if not (client.request_id or "").startswith("req_"):
        wrong.append(f"x-request-id {client.request_id}")
    for name, value in case.headers.items():
        if client.headers.get(name) != value:
            wrong.append(f"header {name}: {client.headers.get(name)!r}, not {value!r}")
    if case.accepted:
        return [*wrong, *([client.error or "unfinished"] if client.ended != "ok" else [])]
    return wrong + (_error(case, client) if case.ends is None else _end(case, client))


def _error(case: Case, client: ClientRecord) -> list[str]:
    if not client.headers.get("content-type", "").startswith("application/json"):
        return [f"content-type {client.headers.get('content-type')}"]
    try:
        body = members(json.loads(client.body))
    except ValueError:
        return [f"an error body that is not JSON: {client.body[:200]!r}"]
    wrong, message = _envelope(case, body)
    wrong += [f"{message!r} does not say {text!r}" for text in case.said if text not in message]
    return wrong


def _envelope(case: Case, body: dict[str, object]) -> tuple[list[str], str]:
    """The body in its surface's form (wire.md 1.4), and its message."""
    error = members(body.get("error"))
    match case.envelope:
        case "openai" | "shared":
            keys = {"error"} if case.envelope == "openai" else {"error", "detail"}
            wrong = [] if set(body) == keys else [f"members {sorted(body)}"]
            return wrong + _openai(case, error), str(error.get("message", ""))
        case "mistral" if case.status == 422:
            details = [members(each) for each in items(body.get("detail"))]
            if not details or set(details[0]) != {"loc", "msg", "type"}:
                return [f"detail {details}"], ""
            where = ".".join(str(each) for each in items(details[0]["loc"])[1:]) or None
            wrong = [] if where == case.param else [f"loc {where}, not {case.param}"]
            return wrong, str(details[0]["msg"])
        case "mistral":
            wrong = [] if body.pop("object", "") == "error" else ["no 'object': 'error'"]
            return wrong + _openai(case, body), str(body.get("message", ""))
        case "cohere":
            wrong = [] if set(body) == {"id", "message"} else [f"members {sorted(body)}"]
            return wrong, str(body.get("message", ""))
        case "voyage":
            wrong = [] if set(body) == {"detail"} else [f"members {sorted(body)}"]
            return wrong, str(body.get("detail", ""))
        case "superset":
            wrong = [] if isinstance(body.get("detail"), str) else ["no 'detail'"]
            return wrong, str(body.get("detail", ""))


def _openai(case: Case, error: dict[str, object]) -> list[str]:
    if set(error) != {"message", "type", "param", "code"}:
        return [f"members {sorted(error)}"]
    wrong = []
    for name, wanted in (("code", case.code), ("param", case.param)):
        if error[name] != wanted:
            wrong.append(f"{name} {error[name]!r}, not {wanted!r} ({error['message']})")
    if case.kind is not None and error["type"] != case.kind:
        wrong.append(f"type {error['type']!r}, not {case.kind!r}")
    return wrong


def _end(case: Case, client: ClientRecord) -> list[str]:
    """A reply that was 200 already: an error event before [DONE], or a body cut short."""
    if case.ends == "cut":
        return (
            [] if client.error in ("broken_body", "ConnectionResetError") else [str(client.error)]
        )
    if client.error != case.ends:
        return [f"ended {client.ended} {client.error}, not {case.ends}"]
    return [] if client.body.endswith(DONE) else [f"ends {client.body[-80:]!r}"]
