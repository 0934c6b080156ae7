"""Where engine and gateway counted the same thing, and do not agree.

Nothing is billed by it: one of the two is broken, or lies, and somebody should look.  Source:
architecture.md 7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modgate.units import UnitTable

PERCENT = 5


def count_differences(
    billed: Mapping[str, int], other: Mapping[str, int], modality: str, table: UnitTable
) -> str:
    """`asr.audio_seconds 10.0 against 14.5` for each unit that is over 5 % apart; '' for none.

    `billed`: by full name; `other`: what the other of the two counted, by the modality's own names.
    Engines round to whole seconds and the like: one unit of what is shown is no difference.
    """
    return ", ".join(_told(billed, other, modality, table))


def _told(
    billed: Mapping[str, int], other: Mapping[str, int], modality: str, table: UnitTable
) -> Iterator[str]:
    for name, count in other.items():
        full = f"{modality}.{name}"
        unit, own = table.units.get(full), billed.get(full, 0)
        if unit is None:
            continue
        apart = abs(own - count)
        if apart > unit.scale and 100 * apart > PERCENT * max(own, count):
            yield f"{table.public(full)} {unit.outside(own)} against {unit.outside(count)}"
