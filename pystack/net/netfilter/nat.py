"""Network address translation (`net/netfilter/nf_nat_core.c`).

A connection's first packet is given a translation by nat's rules, or a null one; it is kept in the
connection's reply tuple, and every later packet, both ways, is changed by it.  Called at the hooks
in nat's priorities; the targets of nat's rules call `setup`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pystack.core.headers.icmp import ICMP_HLEN
from pystack.core.headers.ipv4 import IPPROTO_ICMP
from pystack.core.kernel import Kernel
from pystack.core.skb import SkBuff
from pystack.net.hooks import Hook, HookState, Verdict
from pystack.net.netfilter.conn import Conn, CtInfo, Ref, Status
from pystack.net.netfilter.conntrack import Conntrack
from pystack.net.netfilter.ct_icmp import ICMP_REDIRECT
from pystack.net.netfilter.jhash import jhash2
from pystack.net.netfilter.nat_packet import ICMPS, PORTS, Manip, change_packet, sum_icmp
from pystack.net.netfilter.packet import Headers, checksum_good, parse
from pystack.net.netfilter.tuples import Tuple

MAX_ATTEMPTS = 128


MANIP = {
    Hook.PRE_ROUTING: Manip.DST,
    Hook.LOCAL_OUT: Manip.DST,
    Hook.POST_ROUTING: Manip.SRC,
    Hook.LOCAL_IN: Manip.SRC,
}
PRIORITY = {Manip.DST: -100, Manip.SRC: 100}


class Range(NamedTuple):
    """`struct nf_nat_range2`: what a connection may be translated to; empty: keep what it has.

    `random` is of the port; `fully` does not even try to keep it.
    """

    addresses: tuple[bytes, bytes] | None = None
    ports: tuple[int, int] | None = None
    random: bool = False
    fully: bool = False
    persistent: bool = False
    base_port: int | None = None  # ports are shifted from this one on

    def contains(self, address: bytes, port: int) -> bool:
        if self.addresses is not None and not self.addresses[0] <= address <= self.addresses[1]:
            return False
        return self.ports is None or self.ports[0] <= port <= self.ports[1]


Rules = Callable[[SkBuff, HookState], Verdict]


class Nat:
    def __init__(self, kernel: Kernel, conntrack: Conntrack) -> None:
        self.kernel = kernel
        self.conntrack = conntrack
        self._by_source: dict[tuple[bytes, int, int], list[Conn]] = {}
        conntrack.on_confirm.append(self._remember)
        conntrack.on_destroy.append(self._forget)

    # -- choosing a translation ------------------------------------------------------------

    def setup(self, conn: Conn, wanted: Range, manip: Manip) -> Verdict:
        """Give a connection that is new its translation (`nf_nat_setup_info`)."""
        if conn.status & Status.CONFIRMED:
            return Verdict.ACCEPT
        if conn.status & manip.done:
            return Verdict.DROP
        current = conn.tuples[1].invert()
        chosen = self._unique(current, wanted, conn, manip)
        if chosen != current:
            conn.tuples = (conn.tuples[0], chosen.invert())
            conn.status |= manip.bit
        conn.status |= manip.done
        return Verdict.ACCEPT

    def null_binding(self, conn: Conn, manip: Manip) -> Verdict:
        """No translation, unless another connection has the tuple already."""
        reply = conn.tuples[1]
        address = reply.dst if manip is Manip.SRC else reply.src
        return self.setup(conn, Range((address, address)), manip)

    def _remember(self, conn: Conn) -> None:
        if conn.status & Status.SRC_NAT_DONE:
            self._by_source.setdefault(_source(conn), []).append(conn)

    def _forget(self, conn: Conn) -> None:
        if not conn.status & Status.SRC_NAT_DONE:
            return
        conns = self._by_source[_source(conn)]
        conns.remove(conn)
        if not conns:
            del self._by_source[_source(conn)]

    def _used(self, key: Tuple) -> bool:
        return self.conntrack.lookup(key.invert()) is not None

    def _unique(self, current: Tuple, wanted: Range, conn: Conn, manip: Manip) -> Tuple:
        """A tuple no other connection has, as near to the present one as can be."""
        random = wanted.random or wanted.fully
        if manip is Manip.SRC and not random:
            if wanted.contains(current.src, current.sport):
                if not self._used(current):
                    return current
            else:
                found = self._same_source(current, wanted, conn)
                if found is not None and not self._used(found):
                    return found
        chosen = _choose_address(current, wanted, manip)
        if not random:
            port = chosen.sport if manip is Manip.SRC or chosen.protocol in ICMPS else chosen.dport
            if wanted.ports is not None and wanted.base_port is None:
                low, high = wanted.ports
                if low <= port <= high and (low == high or not self._used(chosen)):
                    return chosen
            elif wanted.ports is None and not self._used(chosen):
                return chosen
        return self._choose_port(chosen, wanted, manip)

    def _same_source(self, current: Tuple, wanted: Range, conn: Conn) -> Tuple | None:
        """What another connection of the same address and port got (`find_appropriate_src`)."""
        for other in self._by_source.get((current.src, current.sport, current.protocol), ()):
            reply = other.tuples[1]
            port = reply.sport if reply.protocol in ICMPS else reply.dport
            if wanted.contains(reply.dst, port):
                return current._replace(src=reply.dst, sport=port)
        return None

    def _choose_port(self, chosen: Tuple, wanted: Range, manip: Manip) -> Tuple:
        """`nf_nat_l4proto_unique_tuple`"""
        icmp = chosen.protocol in ICMPS
        if not icmp and chosen.protocol not in PORTS:
            return chosen
        field = "sport" if manip is Manip.SRC or icmp else "dport"
        port: int = getattr(chosen, field)
        if wanted.ports is not None:
            low, high = sorted(wanted.ports)
        elif icmp:
            low, high = 0, 65535
        elif manip is Manip.DST:
            return chosen
        else:
            low, high = _similar_ports(port)
        size = high - low + 1
        if wanted.base_port is not None:
            offset = port - wanted.base_port
        elif wanted.random or wanted.fully or manip is Manip.SRC:
            offset = self.kernel.rng.randrange(1 << 16)
        else:
            offset = 0
        attempts = min(size, MAX_ATTEMPTS)
        while True:
            for step in range(attempts):
                chosen = _with_port(chosen, field, low + (offset + step) % size)
                if not self._used(chosen):
                    return chosen
            if attempts >= size or attempts < 16:
                return chosen  # used: `confirm` will drop the packet
            attempts //= 2
            offset = self.kernel.rng.randrange(1 << 16)

    # -- changing packets ------------------------------------------------------------------

    def function(self, rules: Rules) -> Callable[[SkBuff, HookState], Verdict]:
        """The hook function that asks `rules` about new connections (`nf_nat_inet_fn`)."""

        def fn(skb: SkBuff, state: HookState) -> Verdict:
            ref: Ref | None = skb.nfct
            if ref is None or ref.conn is None:
                return Verdict.ACCEPT
            conn, info = ref.conn, ref.info
            manip = MANIP[state.hook]
            related = info in (CtInfo.RELATED, CtInfo.RELATED_REPLY)
            if related:
                headers = parse(skb)
                if headers is not None and headers.protocol in ICMPS:
                    return self._translate_error(skb, headers, conn, info, manip)
            if (info is CtInfo.NEW or related) and not conn.status & manip.done:
                verdict = rules(skb, state)
                if verdict is not Verdict.ACCEPT:
                    return verdict
                if not conn.status & manip.done:
                    verdict = self.null_binding(conn, manip)
                    if verdict is not Verdict.ACCEPT:
                        return verdict
            elif _outdev_changed(conn, info, state):
                self.conntrack.destroy(conn)
                return Verdict.DROP
            return self._translate(skb, conn, info.direction, manip)

        return fn

    def _translate(self, skb: SkBuff, conn: Conn, direction: int, manip: Manip) -> Verdict:
        if _translates(conn, direction, manip):
            headers = parse(skb)
            if headers is None:
                return Verdict.DROP
            change_packet(skb, headers, conn.tuples[1 - direction].invert(), manip)
        return Verdict.ACCEPT

    def _translate_error(
        self, skb: SkBuff, headers: Headers, conn: Conn, info: CtInfo, manip: Manip
    ) -> Verdict:
        """Of an ICMP error the quoted packet too (`nf_nat_icmp_reply_translation`)."""
        icmp = headers.protocol == IPPROTO_ICMP
        if not checksum_good(skb, headers):
            return Verdict.DROP
        if icmp and headers.transport[0] == ICMP_REDIRECT and conn.status & Status.nat():
            return Verdict.DROP  # a route to an address that its receiver does not know
        if not _translates(conn, info.direction, manip):
            return Verdict.ACCEPT
        target = conn.tuples[1 - info.direction]
        inner = parse(skb, headers.thoff + ICMP_HLEN)
        if inner is None:
            return Verdict.DROP
        change_packet(skb, inner, target, manip.other)
        outer = target.invert()._replace(protocol=headers.protocol)
        change_packet(skb, headers, outer, manip)
        sum_icmp(skb)
        return Verdict.ACCEPT


def _source(conn: Conn) -> tuple[bytes, int, int]:
    original = conn.tuples[0]
    return original.src, original.sport, original.protocol


def _translates(conn: Conn, direction: int, manip: Manip) -> bool:
    """Replies have their destination changed where requests have their source."""
    return bool(conn.status & (manip.other if direction else manip).bit)


def _outdev_changed(conn: Conn, info: CtInfo, state: HookState) -> bool:
    """A masqueraded connection has been routed elsewhere: its address is wrong now."""
    return bool(
        conn.masquerade_ifindex
        and info.direction == 0
        and state.hook is Hook.POST_ROUTING
        and state.outdev is not None
        and state.outdev.ifindex != conn.masquerade_ifindex
    )


def _with_port(key: Tuple, field: str, port: int) -> Tuple:
    return key._replace(sport=port) if field == "sport" else key._replace(dport=port)


def _similar_ports(port: int) -> tuple[int, int]:
    """Privileged ports stay privileged, and those for credentials among themselves."""
    if port < 512:
        return 1, 511
    return (600, 1023) if port < 1024 else (1024, 65535)


def _choose_address(current: Tuple, wanted: Range, manip: Manip) -> Tuple:
    """One of a range by a hash of the addresses, so that a client keeps it (`find_best_ips_proto`).

    `persistent`: by the client's alone.
    """
    if wanted.addresses is None:
        return current
    low, high = wanted.addresses
    address = low
    if low != high:
        words = len(low) // 4
        last = b"" if wanted.persistent else current.dst
        seed = int.from_bytes(last[-4:], "little") if last else 0
        source = current.src.ljust(16, b"\0")
        value = jhash2([int.from_bytes(source[i : i + 4], "little") for i in range(0, 16, 4)], seed)
        parts, full_range = [], False
        for i in range(words):
            least = int.from_bytes(low[4 * i : 4 * i + 4], "big")
            most = int.from_bytes(high[4 * i : 4 * i + 4], "big") if not full_range else 0xFFFFFFFF
            least = 0 if full_range else least
            word = least + (value * (most - least + 1) >> 32)
            parts.append(word.to_bytes(4, "big"))
            full_range = full_range or word != int.from_bytes(high[4 * i : 4 * i + 4], "big")
            if not wanted.persistent:
                value ^= int.from_bytes(current.dst[4 * i : 4 * i + 4], "little")
        address = b"".join(parts)
    if manip is Manip.SRC:
        return current._replace(src=address)
    return current._replace(dst=address)
