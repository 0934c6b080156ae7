"""Making once, and letting go, all that the file puts to work of plugins, before it is depended on.

So `modgate check` finds offline what serving would find, and a reload is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from modgate.api.authenticator import AnyAuthenticator, ConfiguredAuthenticator
from modgate.api.shipment import LedgerSink
from modgate.config.lines import Path as KeyPath
from modgate.config.link import Linked
from modgate.config.link_ledger import SinkOf
from modgate.host.blame import blamed
from modgate.host.installed import Origin
from modgate.host.load import Loaded
from modgate.problems import PluginError, Problem

Wrong = Callable[[KeyPath, str], Problem]
Part = tuple[KeyPath, Origin, Callable[[], object]]


def refusals(linked: Linked, loaded: Loaded, folder: Path, wrong: Wrong) -> Iterator[Problem]:
    """What cannot be made, and whose fault it is; `folder`: where state will lie."""
    for path, origin, make in _parts(linked, loaded, folder):
        try:
            with blamed(origin):
                make()
        except PluginError as error:
            yield wrong(path, str(error))


def _parts(linked: Linked, loaded: Loaded, folder: Path) -> Iterator[Part]:
    for rule in linked.policies:
        origin, policy = loaded.policies[rule.kind]
        yield ("policy", rule.name), origin, partial(policy, rule.config)
    for advice in linked.scorers:
        origin, scorer = loaded.scorers[advice.kind]
        yield ("scorer", advice.name), origin, partial(scorer, advice.config)
    for door in linked.authenticators:
        origin, authenticator = loaded.authenticators[door.kind]
        yield ("auth", "plugin", door.name), origin, partial(_asked, authenticator, door)
    sections = [each.name for each in linked.file.discover]  # of which not all may be linked
    for found in linked.discoverers:
        origin, discoverer = loaded.discoverers[found.kind]
        yield ("discover", sections.index(found.name)), origin, partial(discoverer, found.config)
    for each in linked.sinks:
        origin, sink = loaded.sinks[each.kind]
        yield each.path, origin, partial(_sink, sink, each, folder)


def _asked(kind: type[AnyAuthenticator], configured: ConfiguredAuthenticator) -> None:
    frozenset(kind(configured.config).origins())


def _sink(kind: type[LedgerSink], of: SinkOf, folder: Path) -> None:
    kind(of.config, folder=folder, password=of.password)
