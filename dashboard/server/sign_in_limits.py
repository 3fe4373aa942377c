"""A limit on failed sign-ins for each network address."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

MAX_FAILURES = 10
WINDOW_S = 600.0
# Above it the addresses with the oldest failures are forgotten, so that memory stays bounded.
MAX_ADDRESSES = 10_000
_IPV6_SITE_BITS = 64


class SignInLimit:
    """Failed sign-ins by address within a window of time.

    clock: seconds from an arbitrary start; it must not be set back, so it is not the time of day.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def is_exceeded(self, address: str) -> bool:
        """Return whether an address has used up its failed sign-ins."""
        with self._lock:
            return len(self._recent(_site(address))) >= MAX_FAILURES

    def record_failure(self, address: str) -> None:
        """Count one failed sign-in of an address."""
        site = _site(address)
        with self._lock:
            recent = self._recent(site)
            recent.append(self._clock())
            self._failures[site] = recent
            self._failures.move_to_end(site)
            while len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)

    def _recent(self, site: str) -> deque[float]:
        recent = self._failures.get(site, deque(maxlen=MAX_FAILURES))
        while recent and self._clock() - recent[0] >= WINDOW_S:
            recent.popleft()
        return recent


def _site(address: str) -> str:
    """Return the address, or its network where it is IPv6: a site has 2^64 of those."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, _IPV6_SITE_BITS), strict=False))
