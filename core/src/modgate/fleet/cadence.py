"""How often gateways tell each other what they have in hand.

What others sent since they told last is what a choice cannot see, and that hurts where several
gateways share few engines: there a frame is short, so more of them cost no more.

Source: tests/sim (8 gateways before 7 engines: 85 % of promises kept at 250 ms, 94 % at 50 ms);
algorithms.md 7 (250 ms).
"""

from __future__ import annotations

LEAST_S, MOST_S = 0.05, 0.25
HEARD_PER_S = 1250.0  # engines of others' frames that one gateway reads in a second


def tells_each_s(engines: int, gateways: int) -> float:
    """Seconds between two frames of one gateway, of so many before so many engines."""
    return min(MOST_S, max(LEAST_S, engines * gateways / HEARD_PER_S))
