"""Which speed each backend has: as receipts show, or as another one of its kind.

A backend that no receipt shows is as those of its hardware class are, or as `--pace` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from modgate.api.modality import AnyModality
from modgate.api.select import Backend
from modgate.sim.receipts import Past
from modgate.sim.sizes import Sized, sample_of
from modgate.sim.speeds import Sample, Speed, luck_of, speed_of
from modgate.sim.trouble import Trouble

FASTEST = 1000.0
FEW = 8  # calls that show how fast an engine is, and not how its time grows with work
Speeds = Mapping[tuple[str, str], Speed]
Luck = tuple[float, float]
NO_LUCK: Luck = (1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A backend is as fast as another, or so many times as fast."""

    backend: str
    other: str
    times: float = 1.0


def pace_of(written: str) -> Pace:
    """Of `NEW=OLD` or `NEW=OLD:2`; Trouble for anything else."""
    backend, sign, rest = written.partition("=")
    other, colon, number = rest.partition(":")
    try:
        times = float(number) if colon else 1.0
    except ValueError:
        times = 0.0
    if not (sign and backend and other and 1 / FASTEST <= times <= FASTEST):
        text = f"--pace reads NEW=OLD, or NEW=OLD:2 for twice as fast, and not '{written}'"
        raise Trouble(text)
    return Pace(backend=backend, other=other, times=times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What receipts show of engines.

    `speeds`: by backend and modality.  `calls`: how many show it.  `luck`: of each request's calls,
    by its line.  `busy_s`: by backend, the sum of the seconds of calls.
    """

    speeds: Speeds
    calls: Mapping[tuple[str, str], int]
    luck: Mapping[int, Sequence[Luck]]
    busy_s: Mapping[str, float]


def shown(past: Sequence[tuple[Past, Sized]], modalities: Mapping[str, AnyModality]) -> Shown:
    """By every call that was answered."""
    samples: dict[tuple[str, str], list[Sample]] = {}
    of_call: dict[tuple[int, int], Sample] = {}
    busy_s: dict[str, float] = {}
    for each, size in past:
        for at, call in enumerate(each.calls):
            busy_s[call.backend] = busy_s.get(call.backend, 0.0) + call.ended_s - call.began_s
            if call.ok:
                sample = of_call[each.line, at] = sample_of(each, call, size)
                samples.setdefault((call.backend, each.modality), []).append(sample)
    speeds = _fitted(samples, modalities)

    def luck(each: Past, at: int) -> Luck:
        speed = speeds.get((each.calls[at].backend, each.modality))
        seen = of_call.get((each.line, at))
        return NO_LUCK if speed is None or seen is None else luck_of(seen, speed)

    lucks = {each.line: [luck(each, at) for at in range(len(each.calls))] for each, _ in past}
    calls = {key: len(found) for key, found in samples.items()}
    return Shown(speeds=speeds, calls=calls, luck=lucks, busy_s=busy_s)


def _fitted(
    samples: Mapping[tuple[str, str], Sequence[Sample]], modalities: Mapping[str, AnyModality]
) -> Speeds:
    """How fast each engine is, by its own calls.

    An engine with few calls is taken to be like the most used one of its modality, and so much
    faster or slower as its calls show: a pick that works well leaves the slowest engines alone, so
    that few calls show what they do.
    """
    speeds: dict[tuple[str, str], Speed] = {}
    used: dict[str, tuple[int, str]] = {}
    for (backend, modality), found in samples.items():
        serial = "first_byte" in modalities[modality].serial
        speeds[backend, modality] = speed_of(found, serial=serial)
        used[modality] = max(used.get(modality, (0, "")), (len(found), backend))
    for (backend, modality), found in samples.items():
        most, other = used[modality]
        if len(found) < FEW <= most:
            speed = speeds[other, modality]
            slower = median(luck_of(each, speed)[1] for each in found)
            speeds[backend, modality] = speed.faster(1 / max(slower, 1 / FASTEST))
    return speeds


def speeds_of(
    backends: Sequence[Backend],
    wanted: Mapping[str, Sequence[str]],
    known: Shown,
    paces: Sequence[Pace],
) -> Speeds:
    """The speed of each of these backends for each modality that it may be asked for.

    `wanted`: by backend the modalities.  Trouble where nothing says how fast it is.
    """
    said = {pace.backend: pace for pace in paces}
    names = {backend.name for backend in backends}
    for pace in paces:
        if pace.backend not in names:
            raise Trouble(f"--pace: the configuration has no backend '{pace.backend}'")
        if not any(backend == pace.other for backend, _ in known.speeds):
            raise Trouble(f"--pace: no receipt shows how fast '{pace.other}' is{_others(known)}")
    found = {}
    for backend in backends:
        for modality in wanted[backend.name]:
            speed = _speed(backend, modality, backends, known, said.get(backend.name))
            if speed is None:
                text = (
                    f"backend '{backend.name}': no call of '{modality}' in the receipts shows how"
                    f" fast it is, or another one of its hardware class;"
                    f" say so: --pace {backend.name}=OTHER:TIMES{_others(known)}"
                )
                raise Trouble(text)
            found[backend.name, modality] = speed
    return found


def _speed(
    backend: Backend, modality: str, backends: Sequence[Backend], known: Shown, said: Pace | None
) -> Speed | None:
    if said is not None:
        as_other = known.speeds.get((said.other, modality))
        return as_other.faster(said.times) if as_other is not None else None
    own = known.speeds.get((backend.name, modality))
    if own is not None or not backend.hardware:
        return own
    alike = [
        (known.calls[other.name, modality], other.name)
        for other in backends
        if other.hardware == backend.hardware and (other.name, modality) in known.speeds
    ]
    return known.speeds[max(alike)[1], modality] if alike else None


def _others(known: Shown) -> str:
    names = sorted({backend for backend, _ in known.speeds})
    return f"; there are: {', '.join(names)}" if names else ""
