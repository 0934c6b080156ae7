"""A slot of a fleet as a call gets it: at once, or after waiting its turn."""

from __future__ import annotations

from modgate.fleet.claim import LEAST_WORK, Claim
from modgate.fleet.fleet import Fleet
from modgate.fleet.lease import Lease
from modgate.fleet.pick import Wanted
from modgate.fleet.waiting import Due


async def leased(
    fleet: Fleet,
    model: str,
    wanted: Wanted,
    claim: Claim | None = None,
    *,
    rider: object = None,
    dues: list[Due] | None = None,
) -> Lease | None:
    """`claim`: whose the slot is to be; None = nobody's, and of the work that is wanted.

    None: another call of the same key took this one's `rider` along.
    """
    lease = fleet.at_once(model, wanted)
    if lease is not None:
        return lease
    claim = claim or Claim(work=max(wanted.work, LEAST_WORK))
    return await fleet.wait(model, wanted, claim, rider, dues)
