"""Our own plugins show at least three samples for each of their endpoints."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Member

AT_LEAST = 3


def test_each_endpoint_of_ours_has_at_least_three_samples(plugin: Member) -> None:
    package = import_module(plugin.package)
    for kind in package.modgate_modalities():
        built = kind(kind.config_type.model_validate({}))
        sampled = Counter(sample.path for sample in kind.samples)
        few = {
            endpoint.path: sampled[endpoint.path]
            for endpoint in built.endpoints()
            if sampled[endpoint.path] < AT_LEAST
        }

        assert few == {}
