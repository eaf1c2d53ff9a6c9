"""Connection tracking of one host (`net/netfilter/nf_conntrack_core.c`), both families.

Its functions run first (after raw's rules) where packets enter, and last where they leave: only
what gets through is remembered.  NAT, rules and tools read the connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from pystack.core.drop import Drop
from pystack.core.headers.ipv4 import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.net.hooks import Hook, Hooks, HookState, Verdict
from pystack.net.netfilter import ct_icmp, ct_tcp, ct_udp
from pystack.net.netfilter.conn import SECOND, UNTRACKED, Conn, CtInfo, Ref, Status, Track
from pystack.net.netfilter.ct_tcp_types import parse as parse_segment
from pystack.net.netfilter.ct_tcp_types import valid_flags
from pystack.net.netfilter.packet import IPPROTO_ICMPV6, Packet, checksum_good
from pystack.net.netfilter.tuples import Tuple, tuple_of

PRIORITY = -200  # NF_IP_PRI_CONNTRACK
CONFIRM_PRIORITY = 1 << 31  # NF_IP_PRI_CONNTRACK_CONFIRM
GC_INTERVAL = SECOND
_MAX = "net.netfilter.nf_conntrack_max"
_CLASHES_RESOLVED = (IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6)


class Conntrack:
    """`connections` maps the tuples of both directions to connections.

    `stats` are the counters of `conntrack -S`; `on_confirm` and `on_destroy` hear of each
    connection's beginning and end.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.connections: dict[Tuple, Conn] = {}
        self.stats: Counter[str] = Counter()
        self.on_confirm: list[Callable[[Conn], None]] = []
        self.on_destroy: list[Callable[[Conn], None]] = []
        self._families: list[Hooks] = []
        self._tcp = ct_tcp.Tcp(kernel.sysctl)
        self._gc = kernel.timer(self._collect, cpu=0)
        self._made = self._count = 0
        self._tp_new = kernel.trace.point("nf_conntrack_new", "number", "tuple")
        self._tp_destroy = kernel.trace.point("nf_conntrack_destroy", "number", "tuple")

    def enable(self, hooks: Hooks) -> bool:
        """Track one family's packets from now on; False if they are already."""
        if any(known is hooks for known in self._families):
            return False
        self._families.append(hooks)
        for hook in (Hook.PRE_ROUTING, Hook.LOCAL_OUT):
            hooks.register(hook, PRIORITY, self.receive)
        for hook in (Hook.POST_ROUTING, Hook.LOCAL_IN):
            hooks.register(hook, CONFIRM_PRIORITY, self.confirm)
        return True

    def __len__(self) -> int:
        """Connections, as nf_conntrack_count has them."""
        return self._count

    def __iter__(self) -> Iterator[Conn]:
        """Those that have not run out."""
        now = self.kernel.now
        for key, conn in list(self.connections.items()):
            if key is conn.tuples[0] and conn.expires > now:
                yield conn

    def lookup(self, key: Tuple) -> Conn | None:
        """The live connection with this tuple in either direction."""
        conn = self.connections.get(key)
        if conn is not None and conn.expires <= self.kernel.now:
            self.destroy(conn)
            return None
        return conn

    # -- a packet enters -------------------------------------------------------------------

    def receive(self, skb: SkBuff, state: HookState) -> Verdict:
        """Finds the packet's connection, or makes one (`nf_conntrack_in`)."""
        if skb.nfct is not None:
            return Verdict.ACCEPT  # seen before on its way through `lo`, or not to be tracked
        packet = Packet.at(skb, state)
        if packet is None:
            self.stats["invalid"] += 1
            return Verdict.ACCEPT
        if packet.protocol in (IPPROTO_ICMP, IPPROTO_ICMPV6):
            handled = ct_icmp.receive(self, packet)
            if handled:
                return Verdict.ACCEPT
        key = tuple_of(packet)
        if key is None or not self._sound(packet):
            self.stats["invalid"] += 1
            return Verdict.ACCEPT
        return self._follow(packet, key)

    def _sound(self, packet: Packet) -> bool:
        """A broken packet belongs to no connection; sums are verified where packets enter."""
        if packet.state.hook is not Hook.PRE_ROUTING:
            return True
        if not self.kernel.sysctl["net.netfilter.nf_conntrack_checksum"]:
            return True
        return checksum_good(packet.skb, packet)

    def _follow(self, packet: Packet, key: Tuple) -> Verdict:
        while True:
            ref = self._resolve(packet, key)
            if ref is None:
                return Verdict.DROPPED
            conn, info = ref.conn, ref.info
            assert conn is not None
            result = self._track(conn, packet, info)
            if result is Track.REOPEN:
                self.destroy(conn)
                continue
            break
        if result is Track.INVALID:
            self.stats["invalid"] += 1
            return Verdict.ACCEPT
        packet.skb.nfct = ref
        if self.kernel.sysctl["net.netfilter.nf_conntrack_acct"]:
            conn.count(info.direction, packet.length + packet.skb.data_len)
        if result is Track.KILL:
            self.destroy(conn)
        if info is CtInfo.ESTABLISHED_REPLY:
            conn.status |= Status.SEEN_REPLY
        return Verdict.ACCEPT

    def _resolve(self, packet: Packet, key: Tuple) -> Ref | None:
        """`resolve_normal_ct`; None: the table is full and the packet dropped."""
        conn = self.lookup(key)
        if conn is None:
            conn = self._make(key)
            if conn is None:
                self.stats["drop"] += 1
                self.kernel.drop(packet.skb, Drop.CONNTRACK_TABLE_FULL)
                return None
            return Ref(conn, CtInfo.NEW)
        if key == conn.tuples[1]:
            return Ref(conn, CtInfo.ESTABLISHED_REPLY)
        if conn.status & Status.SEEN_REPLY:
            return Ref(conn, CtInfo.ESTABLISHED)
        return Ref(conn, CtInfo.NEW)

    def _make(self, key: Tuple) -> Conn | None:
        limit = self.kernel.sysctl[_MAX]
        if limit and len(self) >= limit and not self._early_drop():
            return None
        self._made += 1
        return Conn(self.kernel, key, self._made)

    def _early_drop(self) -> bool:
        """Give up a connection that is not ASSURED, or is closing, for a new one."""
        for conn in self:
            over = conn.tuples[0].protocol == IPPROTO_TCP and ct_tcp.can_early_drop(conn)
            if not conn.status & Status.ASSURED or over:
                self.stats["early_drop"] += 1
                self.destroy(conn)
                return True
        return False

    def _track(self, conn: Conn, packet: Packet, info: CtInfo) -> Track:
        """The protocol's part (`nf_conntrack_handle_packet`)."""
        protocol, sysctl = packet.protocol, self.kernel.sysctl
        if protocol == IPPROTO_TCP:
            segment = parse_segment(packet)
            if segment is None or not valid_flags(segment.header.flags):
                return Track.INVALID
            if not conn.status & Status.CONFIRMED:
                conn.track = ct_tcp.new(segment, sysctl)
                if conn.track is None:
                    return Track.INVALID
            return self._tcp.packet(conn, segment, info.direction)
        if protocol == IPPROTO_UDP:
            return ct_udp.packet(conn, packet, sysctl)
        if protocol in (IPPROTO_ICMP, IPPROTO_ICMPV6):
            return ct_icmp.packet(conn, protocol, sysctl)
        conn.refresh(sysctl["net.netfilter.nf_conntrack_generic_timeout"])
        return Track.ACCEPT

    # -- a packet leaves -------------------------------------------------------------------

    def confirm(self, skb: SkBuff, state: HookState) -> Verdict:
        """The first packet of a connection has got through: remember it."""
        ref: Ref | None = skb.nfct
        if ref is None or ref.conn is None or ref.conn.status & Status.CONFIRMED:
            return Verdict.ACCEPT
        conn = ref.conn
        if conn.status & Status.DYING or ref.info.direction:
            return Verdict.ACCEPT  # a refusal we have made up begins nothing
        taken = [self.lookup(key) for key in conn.tuples]
        if any(taken):
            return self._clash(skb, conn, taken)
        conn.status |= Status.CONFIRMED
        conn.expires += self.kernel.now
        for key in conn.tuples:
            self.connections[key] = conn
        self._count += 1
        self.stats["insert"] += 1
        if self._tp_new.enabled:
            self._tp_new(conn.number, conn.tuples[0])
        for hear in self.on_confirm:
            hear(conn)
        self._arm(conn)
        return Verdict.ACCEPT

    def _clash(self, skb: SkBuff, conn: Conn, taken: list[Conn | None]) -> Verdict:
        """Two packets have begun the same connection at once: the first one's stays.

        Compare `nf_ct_resolve_clash`; a clash of different connections costs the packet.
        """
        winner = taken[0]
        if (
            winner is not None
            and winner.tuples == conn.tuples
            and conn.tuples[0].protocol in _CLASHES_RESOLVED
        ):
            self.stats["clash_resolve"] += 1
            seen = winner.status & Status.SEEN_REPLY
            skb.nfct = Ref(winner, CtInfo.ESTABLISHED if seen else CtInfo.NEW)
            return Verdict.ACCEPT
        self.stats["insert_failed"] += 1
        self.stats["drop"] += 1
        self.kernel.drop(skb, Drop.CONNTRACK_CLASH)
        return Verdict.DROPPED

    # -- the end ---------------------------------------------------------------------------

    def destroy(self, conn: Conn) -> None:
        """Forget a connection; harmless for one that is not remembered."""
        conn.status |= Status.DYING
        if not conn.status & Status.CONFIRMED:
            return
        conn.status &= ~Status.CONFIRMED
        for key in set(conn.tuples):  # a socket may talk to itself
            del self.connections[key]
        self._count -= 1
        if not self._count:
            self._gc.delete()
        if self._tp_destroy.enabled:
            self._tp_destroy(conn.number, conn.tuples[0])
        for hear in self.on_destroy:
            hear(conn)

    def flush(self, doomed: Callable[[Conn], bool] = lambda conn: True) -> int:
        """Forget those that `doomed` says; how many."""
        chosen = [conn for conn in self if doomed(conn)]
        for conn in chosen:
            self.destroy(conn)
        return len(chosen)

    def _arm(self, conn: Conn) -> None:
        due = max(conn.expires, self.kernel.now + GC_INTERVAL)
        if not self._gc.pending or due < self._gc.expires:
            self._gc.mod(due)

    def _collect(self) -> None:
        """Forget what has run out; `lookup` does not wait for this (`gc_worker`)."""
        now = self.kernel.now
        for conn in list(self.connections.values()):
            if conn.expires <= now:
                self.destroy(conn)
        if self.connections:
            first = min(conn.expires for conn in self.connections.values())
            self._gc.mod(max(first, now + GC_INTERVAL))


def untrack(skb: SkBuff) -> None:
    """`-j NOTRACK`"""
    if skb.nfct is None:
        skb.nfct = UNTRACKED
