"""Engines by DNS: every address of a name, or every target of its SRV records."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from modgate.api.discover import (
    Away,
    Discoverer,
    Finding,
    Found,
    Instance,
    Lost,
    Number,
    Pause,
    Resolve,
)
from modgate.discover.reach import Reach, bracketed
from modgate.kit.finding import backoff_s, names

LEAST_S = 1.0


class DnsConfig(Reach):
    """The keys of kind `dns`."""

    host: str = Field(min_length=1, description="the name that is resolved")
    record: Literal["address", "srv"] = Field(
        "address", description="A and AAAA records, or SRV records, which say the port too"
    )
    port: int | None = Field(None, ge=1, le=65535, description="the engines' port, of addresses")
    every_s: float = Field(5.0, ge=LEAST_S, le=3600, description="seconds between two look-ups")

    @model_validator(mode="after")
    def _port(self) -> DnsConfig:
        if (self.port is None) == (self.record == "address"):
            raise ValueError("'port' goes with record = \"address\"; SRV records say it themselves")
        return self


class Dns(Discoverer[DnsConfig]):
    """Looks a name up again and again; a name that leads nowhere changes nothing."""

    name = "dns"
    config_type = DnsConfig

    def discover(self, now: Number, rng: Number) -> Finding[None]:
        """An engine is the same for as long as its address is there."""
        tries = 0
        while True:
            try:
                instances, ttl_s = yield from self._look()
            except Away as error:
                yield Lost(reason=str(error))
                yield Pause(for_s=backoff_s(tries, rng))
                tries += 1
                continue
            tries = 0
            yield Found(instances=instances)
            yield Pause(for_s=min(self.config.every_s, max(LEAST_S, ttl_s)))

    def _look(self) -> Finding[tuple[list[Instance], float]]:
        config = self.config
        if config.record == "srv":
            found = yield from names(Resolve(name=config.host, kind="srv"))
            first = min((each.priority for each in found.targets), default=0)
            pairs = {(t.host, t.port) for t in found.targets if t.priority == first}
        else:
            assert config.port is not None
            found = yield from names(Resolve(name=config.host))
            pairs = {(address, config.port) for address in found.addresses}
        if not pairs:
            raise Away(f"{config.host} leads nowhere")
        instances = [
            Instance(
                uid=f"{host}:{port}", name=f"{bracketed(host)}:{port}", url=config.url(host, port)
            )
            for host, port in sorted(pairs)
        ]
        return instances, found.ttl_s
