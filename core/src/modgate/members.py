"""Who is in the fleet: the engines of the file, and those that discoverers found.

Discovered engines are life, not configuration: they change in the snapshot that is there, which
loses nothing by it, and outlive a reload that leaves their `[[discover]]` as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from modgate.api.discover import AnyDiscoverer, ConfiguredDiscoverer, Instance
from modgate.api.select import Backend, base_url
from modgate.clock import Clock
from modgate.discover.source import Asked, Source
from modgate.host.kinds import Kinds

log = logging.getLogger(__name__)

NAME_AT_MOST = 200
REFUSED_AT_MOST = 1000


@dataclass(slots=True, eq=False, kw_only=True)
class Members:
    """The discoverers at work, by name.  `changed()`: what they found is something else."""

    world: Asked
    clock: Clock
    changed: Callable[[], None]
    _sources: dict[str, Source] = field(default_factory=dict)
    _refused: dict[tuple[str, str], str] = field(default_factory=dict)
    _fit: dict[str, dict[str, Instance]] = field(default_factory=dict)
    _heard: bool = False

    def heard(self) -> bool:
        """Whether each of the first ones has had its word; of a later file's nobody waits for it:
        what was there before still serves."""
        self._heard = self._heard or all(each.heard for each in self._sources.values())
        return self._heard

    def said_none(self) -> bool:
        """Whether one has said that there is no engine now.  Calls are held then, and an engine is
        started for them: who turns them away waits for it in vain."""
        return any(each.known and not each.instances for each in self._sources.values())

    @property
    def sources(self) -> Sequence[Source]:
        """All that are at work."""
        return list(self._sources.values())

    async def use(
        self, discoverers: Sequence[ConfiguredDiscoverer], kinds: Kinds[AnyDiscoverer]
    ) -> None:
        """These are at work from now on; what is as it was runs on."""
        before = self._sources
        self._sources = {}
        for each in discoverers:
            source = before.get(each.name)
            if source is not None and _same(source.configured, each):
                self._sources[each.name] = before.pop(each.name)
                continue
            origin, kind = kinds[each.kind]
            make = partial(kind, each.config)
            source = Source(each, make, self.world, self.clock, self.changed, plugin=str(origin))
            self._sources[each.name] = source
            source.start()
        for name, source in before.items():
            self._fit.pop(name, None)
            await source.close()

    def look(self, discoverers: Sequence[ConfiguredDiscoverer]) -> bool:
        """Whether all of these are at work."""
        return all(
            (source := self._sources.get(each.name)) is not None and _same(source.configured, each)
            for each in discoverers
        )

    def of(
        self, declared: Sequence[Backend], discoverers: Sequence[ConfiguredDiscoverer]
    ) -> list[Backend]:
        """The engines of the file, and those that these discoverers know of.

        One that the file names, too, is the file's.
        """
        backends = list(declared)
        names = {each.name for each in declared}
        urls = {each.url.rstrip("/") for each in declared if not each.socket}
        for configured in discoverers:
            source = self._sources.get(configured.name)
            if source is None or not _same(source.configured, configured):
                continue
            for made in self._backends(configured, source.instances):
                if made.url.rstrip("/") in urls:
                    continue
                name = made.name if made.name not in names else made.uid
                names.add(name)
                backends.append(replace(made, name=name))
        return backends

    def _backends(
        self, configured: ConfiguredDiscoverer, instances: Sequence[Instance]
    ) -> Iterator[Backend]:
        """What was found as what its section says it is; what cannot be an engine is left out.

        An engine that was one before stays as it was: a slip of whoever lists it stops no engine.
        """
        before = self._fit.get(configured.name, {})
        seen = self._fit[configured.name] = {}
        for each in instances:
            fit = each
            if reason := _unfit(configured, each, seen):
                self._refuse(configured, each, reason)
                fit = replace(before.get(each.uid, each), draining=each.draining)
                if _unfit(configured, fit, seen):
                    continue
            seen[each.uid] = fit
            yield _backend(configured, fit)

    def _refuse(self, configured: ConfiguredDiscoverer, instance: Instance, reason: str) -> None:
        """Said once for each, and not at every change of the others."""
        key = (configured.name, instance.uid)
        if self._refused.get(key) == reason:
            return
        if len(self._refused) >= REFUSED_AT_MOST:
            self._refused.clear()
        self._refused[key] = reason
        words = {"discover": configured.name, "found": instance.uid, "reason": reason}
        log.error("an engine that was found cannot be used", extra=words)

    async def close(self) -> None:
        """Stop all."""
        for source in self._sources.values():
            await source.close()
        self._sources.clear()


def _same(one: ConfiguredDiscoverer, other: ConfiguredDiscoverer) -> bool:
    """Whether it looks for the same; what its engines are taken for may differ."""
    return (one.name, one.kind, one.config) == (other.name, other.kind, other.config)


def _unfit(configured: ConfiguredDiscoverer, found: Instance, seen: Collection[str]) -> str:
    """Why it cannot be one of these engines; '' when it can."""
    template = configured.template
    serves = template.serves if found.serves is None else found.serves
    if not found.uid or found.uid in seen:
        return "has no uid of its own"
    if not serves or serves.keys() - template.serves.keys():
        return "serves models that its [[discover]] does not"
    for name in sorted(configured.named & serves.keys()):
        if serves[name] != template.serves[name]:
            return f"has another name for '{name}', whose facts do not say that it is the same"
    if found.slots is not None and found.slots < 1:
        return "has no slots"
    if template.ca and not found.url.startswith("https:"):
        return "is no https url, and its [[discover]] has a ca"
    return base_url(found.url)


def _backend(configured: ConfiguredDiscoverer, found: Instance) -> Backend:
    template = configured.template
    return replace(
        template,
        name=f"{configured.name}/{found.name or found.uid}"[:NAME_AT_MOST],
        uid=f"{configured.name}:{found.uid}",
        url=found.url,
        serves=template.serves if found.serves is None else found.serves,
        draining=found.draining,
        region=template.region if found.region is None else found.region,
        hardware=template.hardware if found.hardware is None else found.hardware,
        slots=template.slots if found.slots is None else found.slots,
    )
