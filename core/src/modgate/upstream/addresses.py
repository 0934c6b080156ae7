"""Which addresses a client's URL may lead to.

There are two questions.  `is_public`: may anybody's URL lead there?  What is not known to be public
is not.  `is_forbidden`: may nobody's, not even where the operator named the origin, because it is
a metadata service?

Source: algorithms.md 9; the IANA special-purpose address registries (RFC 6890, 8190).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

# Written down and not left to `is_global`, which has said otherwise in older Pythons.
_NOT_PUBLIC_4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_UNICAST_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # IETF protocol assignments, Teredo and ORCHID among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = IPv6Network("::/96")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})

# Where clouds tell a machine its own credentials. Link-local as a whole, because nothing else that
# an operator could want to name lives there.
_METADATA_4 = tuple(
    IPv4Network(net)
    for net in (
        "169.254.0.0/16",
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's platform
        "192.0.0.192/32",  # Oracle
    )
)
_METADATA_6 = tuple(
    IPv6Network(net)
    for net in (
        "fe80::/10",
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google
        "fd00:42::42/128",  # Scaleway
        "fd00:c1::a9fe:a9fe/128",  # Oracle
        "fd00:a9fe:a9fe::1/128",  # Akamai
        "fd00:100::100:200/128",  # Alibaba
    )
)


def is_public(address: Address) -> bool:
    """Whether an address is the same one for everybody on the internet, and open to all."""
    if is_forbidden(address):
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in net for net in _NOT_PUBLIC_4)
    if address in _NAT64:  # how an IPv6-only network reaches IPv4: as public as what it stands for
        return is_public(_low(address))
    if any(not is_public(inner) for inner in embedded(address)):
        return False
    return (
        address.is_global
        and address in _UNICAST_6
        and not any(address in net for net in _NOT_PUBLIC_6)
    )


def is_forbidden(address: Address) -> bool:
    """Whether no configuration can open an address: metadata services, however it is spelt."""
    if address.is_multicast:
        return True
    if isinstance(address, IPv4Address):
        return any(address in net for net in _METADATA_4)
    inside = any(is_forbidden(inner) for inner in embedded(address))
    return inside or any(address in net for net in _METADATA_6)


def embedded(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that a translator or tunnel would read out of an IPv6 address.

    Mapped and compatible (RFC 4291), NAT64 (RFC 6052, 8215), 6to4 (RFC 3056), Teredo (RFC 4380) and
    ISATAP (RFC 5214).
    """
    found = [] if address.sixtofour is None else [address.sixtofour]
    if address.ipv4_mapped is not None or any(
        address in net for net in (_NAT64, _NAT64_LOCAL, _COMPATIBLE)
    ):
        found.append(_low(address))
    if address.teredo is not None:
        found.extend(address.teredo)
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        found.append(_low(address))
    return found


def _low(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)
