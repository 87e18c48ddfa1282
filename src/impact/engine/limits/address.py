"""Who a client is to rate limits, where nothing else says it: its address."""

import functools
import ipaddress
from collections.abc import Sequence

from litestar.types import HTTPScope

from impact.errors import ConfigurationError
from impact.settings import Settings, variable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_UNKNOWN = "unknown"
_SITE = 64
"""Bits of an IPv6 address that one customer of a provider has no choice of."""


class Addresses:
    """Reads the client's address. Raises ConfigurationError where a proxy's network is none."""

    def __init__(self, settings: Settings) -> None:
        self._trusted: Sequence[Network] = [_network(text) for text in settings.trusted_proxies]
        self._is_trusted = functools.lru_cache(maxsize=1024)(self._in_a_trusted_network)

    def of(self, scope: HTTPScope) -> str:
        """The peer; where that is a proxy of ours, the last address in ``x-forwarded-for`` that
        is no proxy of ours. What stands before it the client may have made up."""
        client = scope.get("client")
        peer = client[0] if client else _UNKNOWN
        if self._trusted and self._is_trusted(peer):
            forwarded = b",".join(
                value for name, value in scope["headers"] if name == b"x-forwarded-for"
            )
            for part in reversed(forwarded.decode("latin-1").split(",")):
                hop = part.strip()
                if _parsed(hop) is None:
                    break
                peer = hop
                if not self._is_trusted(hop):
                    break
        return _site(peer)

    def _in_a_trusted_network(self, text: str) -> bool:
        address = _parsed(text)
        return address is not None and any(address in network for network in self._trusted)


@functools.lru_cache(maxsize=4096)
def _site(text: str) -> str:
    address = _parsed(text)
    if address is None:
        return _UNKNOWN
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, _SITE), strict=False))


def _parsed(text: str) -> Address | None:
    """The address, without the port some proxies add; None for what is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigurationError(f"{variable('trusted_proxies')}: {error}") from None
