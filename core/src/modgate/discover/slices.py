"""What a service's EndpointSlices say, whatever order they came in.

The engines are a function of the slices that are there, so a relist that changes nothing changes
nothing.  Source: kubernetes.io EndpointSlice v1; KEP-1669 (terminating endpoints).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from modgate.api.discover import Instance
from modgate.api.json import Json, JsonObject
from modgate.discover.reach import Reach

_ORDER = {"IPv4": 0, "IPv6": 1, "FQDN": 2}


@dataclass(slots=True, kw_only=True)
class Slices:
    """The slices of one service, by name.

    `port`: a port's name or number; None = the slice's first.
    """

    reach: Reach
    port: str | int | None = None
    _by_name: dict[str, JsonObject] = field(default_factory=dict)

    def replace(self, slices: Mapping[str, JsonObject]) -> None:
        """A whole list takes the place of what there was."""
        self._by_name = dict(slices)

    def put(self, slice_: JsonObject) -> None:
        """A slice was made or changed."""
        self._by_name[name_of(slice_)] = slice_

    def drop(self, slice_: JsonObject) -> None:
        """A slice is gone, or is no longer this service's."""
        self._by_name.pop(name_of(slice_), None)

    def instances(self) -> list[Instance]:
        """The engines: each once, though it stands in two slices while it is moved."""
        best: dict[str, tuple[tuple[bool, int, str], Instance]] = {}
        for name, slice_ in self._by_name.items():
            kind = str(slice_.get("addressType"))
            port = self._port(slice_)
            if port is None or kind not in _ORDER:
                continue
            for found in self._of(slice_, port):
                rank = (found.draining, _ORDER[kind], name)
                if found.uid not in best or rank < best[found.uid][0]:
                    best[found.uid] = rank, found
        return [found for _, (_, found) in sorted(best.items())]

    def _port(self, slice_: JsonObject) -> int | None:
        if isinstance(self.port, int):
            return self.port
        for each in _objects(slice_.get("ports")):
            number = each.get("port")
            fits = self.port is None or each.get("name") == self.port
            if fits and each.get("protocol", "TCP") == "TCP" and type(number) is int:
                return number
        return None

    def _of(self, slice_: JsonObject, port: int) -> Iterator[Instance]:
        for each in _objects(slice_.get("endpoints")):
            conditions = _object(each.get("conditions"))
            ready = conditions.get("ready") is not False  # not said means ready
            serving = conditions.get("serving")
            draining = conditions.get("terminating") is True
            addresses = each.get("addresses")
            if not (ready if serving is None else serving) or not (ready or draining):
                continue
            if not isinstance(addresses, list) or not addresses or type(addresses[0]) is not str:
                continue
            target = _object(each.get("targetRef"))
            uid, name = str(target.get("uid") or ""), str(target.get("name") or "")
            yield Instance(
                uid=uid or f"{addresses[0]}:{port}",
                url=self.reach.url(addresses[0], port),
                name=name or addresses[0],
                draining=draining,
            )


def name_of(slice_: JsonObject) -> str:
    """A slice's name; '' for what is none."""
    return str(_object(slice_.get("metadata")).get("name") or "")


def version_of(value: JsonObject) -> str:
    """The resourceVersion of an object or a list."""
    return str(_object(value.get("metadata")).get("resourceVersion") or "")


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _objects(value: Json) -> Iterator[JsonObject]:
    return (
        (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())
    )
