"""An explanation as text: aligned, and readable without colour and on paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from modgate.api.json import Json, JsonObject

BARS = 40
NOTED_BELOW = ("slo", "would_refuse")
LINES_AT_MOST = 40  # of the waterfall; a fan-out has thousands
DETAILS_AT_MOST = 12
CANDIDATES_AT_MOST = 16
WHY = {
    "only": "the only backend of the model",
    "fit": "the soonest of those that are surely in time",
    "affinity": "calls like it went there before",
    "explore": "spent on finding out whether it got better",
    "best_effort": "none was surely in time; this one came closest",
}
LEFT_OUT = {
    "region": "the caller's data may not be there",
    "requires": "it does not offer what the call needs",
    "tried": "it had failed this call",
    "passed_over": "it had failed others lately",
    "ejected": "ejected: it does not answer",
    "saturated": "it said that it has no room",
    "in_hand": "it had work in hand, and this class rather waits than be late",
    "late": "not surely in time",
    "no_slot": "no free slot",
    "disqualified": "it breaks its promises to this class",
    "not_compared": "not in the sample that was compared",
    "others_wait": "others had come before",
}
PHASE = {"first_byte": "first event", "between": "between events", "total": "whole reply"}
OUTCOME = {
    "chosen": "chosen",
    "other": "compared; another was better",
    "unsure": "not surely in time",
    "full": "its cache is full",
}


def lines(told: JsonObject) -> Iterator[str]:
    """The whole explanation."""
    yield from _head(told)
    yield from _limits(_object(told.get("limits")))
    yield from _queue(_object(told.get("queue")))
    yield from _policies(_list(told.get("policies")))
    yield from _waterfall(told)
    yield from _waits(_list(told.get("waits")))
    yield from _picks(_list(told.get("attempts")))
    yield from _promise(_object(told.get("slo")))
    yield from _units(_object(told.get("units")), told)
    yield from _cost(_object(told.get("cost")))
    yield from _headers(_object(told.get("headers")))


def _head(told: JsonObject) -> Iterator[str]:
    status = f"{told['status']} {told['outcome']}"
    if told["error"]:
        status += f" ({told['error']})"
    yield f"{told['id']}  {told['route']}  {status} in {_ms(told['duration_ms'])}"
    rows = {
        "began": told["began"],
        "tenant": f"{told['tenant']}, key {told['key']}",
        "model": _joined(told, "model", "modality", "operation"),
        "class": told["class"],
        "trace": told["trace_id"],
    }
    for name, value in rows.items():
        if value:
            yield f"  {name:<8}{value}"
    for note, value in _object(told.get("notes")).items():
        if note not in NOTED_BELOW:
            yield f"  {note.replace('_', ' ')}: {value}"
    if told["kept"] == "ledger":
        yield "  from the ledger: it is not among the recent requests any more, so what led to it"
        yield "  (candidates, limits, steps) is forgotten"


def _joined(told: JsonObject, *names: str) -> str:
    words = [str(told[name]) for name in names if told[name]]
    return ", ".join(dict.fromkeys([*words, *(["stream"] if told["stream"] else [])]))


def _limits(limits: JsonObject) -> Iterator[str]:
    met = _list(limits.get("met"))
    if not met and not limits.get("refusal"):
        return
    yield ""
    yield f"limits (kept {limits['kept']})"
    rows = [
        (
            f"{each['limit']}/{each['per']}",
            str(each["scope"]),
            _number(each["amount"]),
            _number(each["reserved"]),
            _number(each["left_at_reply"]),
            _denied(each),
        )
        for each in met
    ]
    names = ("limit", "of", "amount", "reserved", "left", "verdict")
    yield from _table(names, rows, right=(2, 3, 4))
    if limits.get("refusal"):
        yield f"  told: {limits['refusal']}"
    if limits.get("would_refuse"):
        yield f"  in shadow, would refuse: {limits['would_refuse']}"


def _queue(bound: JsonObject) -> Iterator[str]:
    """Which bound of the queue refused it."""
    if not bound:
        return
    wanted, most = f"{_number(bound['wanted'])} {bound['unit']}", _number(bound["at_most"])
    share = "" if bound["of"] == "all" else f" ({bound['of']})"
    yield ""
    if bound["refused_by"] != "deadline":
        yield f"queue: refused by `{bound['refused_by']}`{share}: {wanted}, at most {most}"
    elif bound["at_most"]:
        yield f"queue: refused by its deadline{share}: it would take {wanted}, and had {most}"
    else:
        yield f"queue: refused by its deadline{share}, which came while it waited"


def _denied(each: JsonObject) -> str:
    text = str(each["verdict"])
    if "level_before" in each:
        text += f": wanted {_number(each['wanted'])}, level was {_number(each['level_before'])}"
    if "wait_ms" in each:
        text += f", room in {_ms(each['wait_ms'])}"
    return text


def _policies(policies: Sequence[JsonObject]) -> Iterator[str]:
    if not policies:
        return
    yield ""
    yield "policies"
    rows = [
        (
            str(each["policy"]),
            str(each["verdict"]),
            _ms(each["ms"]),
            " ".join(
                [str(each.get("code", "")), *(n for n in ("late", "shadow") if each.get(n))]
            ).strip(),
        )
        for each in policies
    ]
    yield from _table(("policy", "verdict", "took", ""), rows, right=(2,))


def _waterfall(told: JsonObject) -> Iterator[str]:
    whole = _float(told["duration_ms"]) or 1.0
    rows: list[tuple[float, str, str, float | None, float]] = []
    for step in _list(told.get("steps")):
        began, ended = _float(step["began_ms"]), _float(step["ended_ms"])
        rows.append((began, str(step["step"]), "", None, ended))
    for each in _list(told["attempts"]):
        began = _float(each["began_ms"])
        ended = _float(each["ended_ms"]) if each["ended_ms"] is not None else whole
        first = _float(each["first_event_ms"]) if each["first_event_ms"] is not None else None
        other = f" ({each['model']})" if each["model"] != told["model"] else ""
        name = f"{_call(each)}{other} at {each['backend']}"
        rows.append((began, name, _state(each), first, ended))
    if not rows:
        return
    rows.sort(key=lambda row: row[0])
    left = rows[LINES_AT_MOST:]
    rows = rows[:LINES_AT_MOST]
    label = max(len(row[1]) for row in rows)
    state = max(len(row[2]) for row in rows)
    yield ""
    yield "waterfall"
    for began, name, said, first, ended in rows:
        times = f"{_ms(began):>10} {'+' + _ms(ended - began):>10}"
        yield f"  {name:<{label}}  {said:<{state}} {times} |{_bar(began, first, ended, whole)}|"
    if left:
        yield f"  and {len(left)} more"
    legend = f"{'':<{label}}  {'':<{state}} {'began':>10} {'took':>10}"
    yield f"  {legend}  (- until the first event, = from it on)"


def _bar(began: float, first: float | None, ended: float, whole: float) -> str:
    """`-` until the first event, `=` from it on; at least one sign wide."""
    at = min(BARS - 1, int(began / whole * BARS))
    to = max(at + 1, min(BARS, round(ended / whole * BARS)))
    middle = to if first is None else max(at, min(to, round(first / whole * BARS)))
    return " " * at + "-" * (middle - at) + "=" * (to - middle) + " " * (BARS - to)


def _call(each: JsonObject) -> str:
    call = int(_float(each["call"]))
    return f"call {call}" if call >= 0 else f"side call {-call}"


def _state(each: JsonObject) -> str:
    status = f" {each['status']}" if each["status"] is not None else ""
    error = f" {each['error']}" if each["error"] else ""
    shared = int(_float(each["shared_by"]))
    together = "" if shared == 1 else f" shared by {shared}" if shared else " rode along"
    return f"{each['state']}{status}{error}{together}"


def _waits(waits: Sequence[JsonObject]) -> Iterator[str]:
    for each in waits[:DETAILS_AT_MOST]:
        yield ""
        yield f"{_call(each)} found no slot that would do, at {_ms(each['began_ms'])}"
        if each["candidates"]:
            yield from _candidates(_list(each["candidates"]))
        else:
            yield f"  no backend serves the model '{each['model']}'"


def _picks(attempts: Sequence[JsonObject]) -> Iterator[str]:
    told = [each for each in attempts if each.get("pick")]
    for each in told[:DETAILS_AT_MOST]:
        pick = _object(each["pick"])
        yield ""
        again = ", tried again" if pick["again"] else ""
        yield f"{_call(each)} at {each['backend']}{again}: {WHY.get(str(pick['why']), pick['why'])}"
        if each.get("unreached"):
            yield f"  not reached: {each['unreached']}"
        yield from _slo(_object(each.get("slo")))
        if pick["why"] != "only":
            yield from _candidates(_list(pick.get("candidates")))
        if (ago := pick["stood_ago_ms"]) is not None:
            heard = (
                f", with what {count} gateways told" if (count := pick["gateways_heard"]) else ""
            )
            sample = "" if pick["exact_view"] else "; not all is known, so a sample is compared"
            yield f"  how they stood is of {_ms(ago)} before{heard}{sample}"
    if len(told) > DETAILS_AT_MOST:
        yield ""
        yield f"and {len(told) - DETAILS_AT_MOST} more attempts: --json has them"


def _slo(slo: JsonObject) -> Iterator[str]:
    if not slo:
        return
    text = f"  {PHASE[str(slo['phase'])]}: target {_ms(slo['target_ms'])}"
    if slo["predicted_ms"] is not None:
        share = _float(slo["predicted_ms"]) / max(_float(slo["target_ms"]), 1e-9)
        text += f", predicted {_ms(slo['predicted_ms'])} ({share:.0%})"
    if slo["took_ms"] is not None:
        verdict = "kept" if slo["kept"] else "late"
        text += f", took {_ms(slo['took_ms'])} ({_float(slo['share']):.0%}): {verdict}"
    yield text
    yield from _slo(_object(slo.get("gaps")))


def _candidates(found: Sequence[JsonObject]) -> Iterator[str]:
    shown = found
    if len(found) > CANDIDATES_AT_MOST:  # of a large pool those that were left out are counted
        shown = [each for each in found if not each["left_out"]][:CANDIDATES_AT_MOST]
    rows = [
        (
            ("> " if each["outcome"] == "chosen" else "  ") + str(each["backend"]),
            str(each["region"]) or "-",
            _ms(each["predicted_ms"]),
            f"{_float(each['share']):.0%}" if each.get("share") is not None else "-",
            _ms(each["score_ms"]),
            str(each.get("state", "-")),
            f"{each['taken']}/{each['slots']}" if "taken" in each else "-",
            _ms(each.get("telemetry_age_ms")),
            _ms(each.get("learned_ago_ms")),
            LEFT_OUT.get(str(each["left_out"]), "")
            or OUTCOME.get(str(each["outcome"]), "free when it was looked at"),
        )
        for each in shown
    ]
    names = (
        *("  backend", "region", "predicted", "of target", "score", "state", "in hand"),
        *("telemetry", "learned", "verdict"),
    )
    yield from _table(names, rows, right=(2, 3, 4, 6, 7, 8))
    if len(shown) < len(found):
        left = Counter(str(each["left_out"] or "compared") for each in found)
        left["compared"] -= len(shown)
        counts = [
            f"{count} {LEFT_OUT.get(name, name)}" for name, count in left.most_common() if count
        ]
        yield f"    and {'; '.join(counts)}"


def _promise(slo: JsonObject) -> Iterator[str]:
    if not slo:
        return
    yield ""
    verdict = "kept" if slo["kept"] else f"late in {slo['late']} of {slo['calls']} calls"
    told = f"; the client was told {slo['told']}" if slo["told"] else ""
    yield f"promise: {verdict}; at worst {_float(slo['worst_share']):.0%} of the target{told}"


def _units(units: JsonObject, told: JsonObject) -> Iterator[str]:
    if not units:
        return
    yield ""
    yield f"units ({'exact' if told['exact'] else 'not exact'}, measured by {told['measured_by']})"
    rows = [
        (name, str(each["reserved"] or "-"), str(each["used"] or "-"))
        for name, each in ((name, _object(each)) for name, each in units.items())
    ]
    yield from _table(("unit", "reserved", "used"), rows, right=(1, 2))


def _cost(cost: JsonObject) -> Iterator[str]:
    if not cost:
        return
    yield ""
    by = f"by {cost['book']}" if cost["book"] else "no price book was in force"
    yield f"cost {_money(cost['micro'], 6)} {cost['currency']}, {by}"
    rows = [
        (
            *(str(line["unit"]), str(line["count"])),
            f"{_money(line['pico'], 12)}/{line['per']}",
            _money(line["micro"], 6),
        )
        for line in _list(cost["lines"])
    ]
    yield from _table(("unit", "used", "price", "cost"), rows, right=(1, 2, 3))
    if unpriced := cost["unpriced"]:
        yield f"  without a price: {', '.join(map(str, unpriced))}"


def _money(amount: Json, digits: int) -> str:
    """An amount of the currency's 10^-digits, with no zeros that say nothing."""
    return f"{Decimal(str(amount)).scaleb(-digits).normalize():f}"


def _headers(headers: Mapping[str, Json]) -> Iterator[str]:
    if not headers:
        return
    yield ""
    yield "told in headers"
    yield from _table((), [(name, str(value)) for name, value in headers.items()], right=())


def _table(
    names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]
) -> Iterator[str]:
    """Rows in columns as wide as what is in them; a column that says nothing is left out."""
    if not rows:
        return
    shown = [at for at in range(len(rows[0])) if any(row[at] not in ("", "-") for row in rows)]
    table = [*([names] if names else []), *rows]
    widths = {at: max(len(row[at]) for row in table) for at in shown}
    for row in table:
        cells = [
            row[at].rjust(widths[at]) if at in right else row[at].ljust(widths[at]) for at in shown
        ]
        yield f"  {'  '.join(cells)}".rstrip()


def _ms(value: Json) -> str:
    """Milliseconds, in the unit that is read best."""
    if value is None:
        return "-"
    found = _float(value)
    if found >= 10_000:
        return f"{found / 1000:.1f} s"
    digits = 0 if found >= 100 else 1 if found >= 1 else 2
    return f"{found:.{digits}f} ms"


def _number(value: Json) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _float(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
