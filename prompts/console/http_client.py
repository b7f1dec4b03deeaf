"""HTTP to servers of ours. Proxies of the environment are not for this machine itself."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
import urllib.request
from typing import Any
from urllib.parse import urlsplit

_DISCARD_PORT = 9  # nothing is sent: a datagram socket only looks up where it would be sent from


def open_url(request: urllib.request.Request | str, timeout_s: float) -> Any:
    """Send a request, to this machine always directly; returns the reply, a context.

    Raises:
        OSError: no answer, or one with an error status.
        ValueError: that is no address.
    """
    url = request if isinstance(request, str) else request.full_url
    if is_this_machine(urlsplit(url).hostname or ""):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return direct.open(request, timeout=timeout_s)
    return urllib.request.build_opener().open(request, timeout=timeout_s)


def route_to(url: str) -> str:
    """How a person finds what may have failed: the address, and the proxy it is asked through."""
    proxy = proxy_of(url)
    return url if proxy is None else f"{url} through the proxy {proxy} of the environment"


def proxy_of(url: str) -> str | None:
    """Return the proxy that `open_url` asks, without its password; None where it asks directly."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or is_this_machine(parts.hostname or ""):
        return None
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    head, at, host = proxy.rpartition("@")
    return f"{head.partition('://')[0]}://{host}" if at and "://" in head else host or proxy


def is_this_machine(host: str) -> bool:
    """Tell whether a host of an address is the machine that this runs on."""
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost") or host in _own_names():
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified or _is_own(address)


@functools.cache
def _own_names() -> frozenset[str]:
    name = socket.gethostname()
    known = [name]
    with contextlib.suppress(OSError):  # a name that nothing knows but the machine itself
        canonical, aliases, _ = socket.gethostbyname_ex(name)
        known += [canonical, *aliases]
    return frozenset(name.lower().rstrip(".") for name in known if name)


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether what is sent to the address comes from it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as looked_up:
            looked_up.connect((str(address), _DISCARD_PORT))
            return bool(ipaddress.ip_address(looked_up.getsockname()[0]) == address)
    except OSError:  # no way there at all
        return False
