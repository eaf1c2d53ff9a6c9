"""ICMP errors on their way to datagram sockets: a pending error, or the error queue.

Called by the transports' error handlers (`__udp4_lib_err`, `raw_err`, `ping_err`).
"""

from __future__ import annotations

import errno
from socket import AF_INET

from pystack.core.skb import SkBuff
from pystack.net.inet import Inet
from pystack.transport import errqueue
from pystack.transport.datagram import DatagramSock
from pystack.transport.errqueue import SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6, ErrorReport
from pystack.transport.inetsock import PMTUDISC_DONT

_SOURCE = {4: slice(12, 16), 16: slice(8, 24)}  # of the addresses in an IP header


def offender(skb: SkBuff) -> bytes:
    """Who sent the error in which `skb` is quoted."""
    header = skb.buf[skb.network_header :]
    return bytes(header[_SOURCE[len(skb.saddr)]])


def deliver(
    sk: DatagramSock,
    inet: Inet,
    icmp_type: int,
    code: int,
    info: int,
    skb: SkBuff,
    dport: int,
    header: int,
) -> None:
    """Tell `sk` about a packet of its own, quoted at `skb.off` with `header` bytes of transport.

    Without IP_RECVERR only a connected socket hears of it, and only what is fatal.
    """
    error = inet.icmp_error(icmp_type, code)
    fatal = error.fatal
    if error.number == errno.EMSGSIZE:
        inet.update_pmtu(skb.daddr, info)
        fatal = (sk.pmtudisc if inet.family == AF_INET else sk.pmtudisc6) != PMTUDISC_DONT
        if not fatal:
            return
    if not error.number:
        return
    if errqueue.wants(sk):
        origin = SO_EE_ORIGIN_ICMP if inet.family == AF_INET else SO_EE_ORIGIN_ICMP6
        data = bytes(skb.data[header:])
        errqueue.put(
            sk,
            ErrorReport(
                error.number,
                origin,
                skb.daddr,
                dport,
                data,
                icmp_type,
                code,
                info,
                offender(skb),
            ),
        )
    elif not (fatal and sk.has_peer):
        return
    sk.report_error(error.number)
