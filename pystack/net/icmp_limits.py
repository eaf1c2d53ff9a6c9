"""How many ICMP errors may leave (`icmp_global_allow`, `inet_peer_xrlim_allow`; RFC 1812, 4.3.2.8).

Asked by `Icmp` for the types in icmp_ratemask, and by `Icmpv6`: all of them together, and each
destination.
"""

from __future__ import annotations

from pystack.core.headers.icmp import ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED
from pystack.core.kernel import Kernel

SECOND = 1_000_000_000
MS = 1_000_000
_REFILL = SECOND // 50  # at the earliest after this long
_BURST_FACTOR = 6
_PEERS = 4096


class IcmpLimits:
    def __init__(
        self, kernel: Kernel, ratelimit: str = "net.ipv4.icmp_ratelimit", counters: str = "Icmp"
    ) -> None:
        """`ratelimit` is the family's setting, its counters begin with `counters`."""
        self._kernel = kernel
        self._ratelimit = ratelimit
        self._counters = counters
        self._credit = kernel.sysctl["net.ipv4.icmp_msgs_burst"]
        self._stamp = kernel.now
        self._peers: dict[bytes, tuple[int, int]] = {}  # (tokens in ms, time of the last look)

    def exempt(self, icmp_type: int, code: int) -> bool:
        """Not limited at all (`icmpv4_mask_allow`): path MTU discovery never is."""
        if (icmp_type, code) == (ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED):
            return True
        return not self._kernel.sysctl["net.ipv4.icmp_ratemask"] >> icmp_type & 1

    def global_allow(self) -> bool:
        """icmp_msgs_per_sec with bursts of icmp_msgs_burst; takes 0 to 2 at random, so that nobody
        can count others' errors by his own (RFC 8900 and the SAD DNS attack)."""
        kernel = self._kernel
        elapsed = min(kernel.now - self._stamp, SECOND)
        if elapsed >= _REFILL:
            gained = kernel.sysctl["net.ipv4.icmp_msgs_per_sec"] * elapsed // SECOND
            burst = kernel.sysctl["net.ipv4.icmp_msgs_burst"]
            self._credit = min(self._credit + gained, burst)
            self._stamp = kernel.now
        if self._credit <= 0:
            kernel.mib[self._counters + "OutRateLimitGlobal"] += 1
            return False
        self._credit -= kernel.rng.randrange(3)
        return True

    def peer_allow(self, daddr: bytes) -> bool:
        """One each icmp_ratelimit ms to one destination, in bursts of six."""
        allowed = self.xrlim_allow(daddr, self._kernel.sysctl[self._ratelimit])
        if not allowed:
            self._kernel.mib[self._counters + "OutRateLimitHost"] += 1
        return allowed

    def xrlim_allow(self, daddr: bytes, interval: int) -> bool:
        """One each `interval` ms (`inet_peer_xrlim_allow`)."""
        now = self._kernel.now // MS
        full = _BURST_FACTOR * interval
        tokens, last = self._peers.get(daddr, (full, now))
        tokens = min(tokens + now - last, full)
        allowed = tokens >= interval
        if daddr not in self._peers and len(self._peers) >= _PEERS:
            self._peers.clear()
        self._peers[daddr] = (tokens - interval if allowed else tokens, now)
        return allowed
