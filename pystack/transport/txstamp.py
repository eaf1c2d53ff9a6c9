"""Time stamps of what is sent (`__skb_tstamp_tx`, Documentation/networking/timestamping.rst).

A socket asks with SO_TIMESTAMPING, for all packets or in control data for one; the answer is in
its error queue.  The software stamp is taken when the driver takes the packet, the hardware one is
the device's.  Of a stream there are none.
"""

from __future__ import annotations

import errno
import socket as so
import struct
from functools import partial
from typing import TYPE_CHECKING

from pystack.core.kernel import EPOCH_NS
from pystack.transport.errqueue import SO_EE_ORIGIN_TIMESTAMPING, ErrorReport, put
from pystack.transport.sockopt import (
    SO_TIMESTAMPING,
    SOF_TIMESTAMPING_OPT_ID,
    SOF_TIMESTAMPING_OPT_TSONLY,
    SOF_TIMESTAMPING_RAW_HARDWARE,
    SOF_TIMESTAMPING_SOFTWARE,
    SOF_TIMESTAMPING_TX_HARDWARE,
    SOF_TIMESTAMPING_TX_SOFTWARE,
)

if TYPE_CHECKING:
    from pystack.core.skb import SkBuff
    from pystack.transport.inetsock import InetSock

NS = 1_000_000_000
_TIMESTAMPING = struct.Struct("=6q")


def ask(sk: InetSock, skb: SkBuff, flags: int) -> None:
    """`flags`: those of the socket, or of this packet."""
    key = 0
    if sk.sk_tsflags & SOF_TIMESTAMPING_OPT_ID:
        key, sk.sk_tskey = sk.sk_tskey, sk.sk_tskey + 1 & 0xFFFFFFFF
    if flags & SOF_TIMESTAMPING_TX_SOFTWARE:
        skb.tx_software = partial(_software, sk, key, skb)
    if flags & SOF_TIMESTAMPING_TX_HARDWARE:
        skb.tx_stamped = partial(_hardware, sk, key, skb)


def _software(sk: InetSock, key: int, skb: SkBuff, now: int) -> None:
    if sk.sk_tsflags & SOF_TIMESTAMPING_SOFTWARE:
        _report(sk, key, skb, 0, now + EPOCH_NS)


def _hardware(sk: InetSock, key: int, skb: SkBuff, stamp: int) -> None:
    if sk.sk_tsflags & SOF_TIMESTAMPING_RAW_HARDWARE:
        _report(sk, key, skb, 4, stamp)


def _report(sk: InetSock, key: int, skb: SkBuff, at: int, ns: int) -> None:
    """`at` is the stamp's place in struct scm_timestamping."""
    if sk.dead:
        return
    stamps = [0] * 6
    stamps[at : at + 2] = divmod(ns, NS)
    control = (so.SOL_SOCKET, SO_TIMESTAMPING, _TIMESTAMPING.pack(*stamps))
    frame = b"" if sk.sk_tsflags & SOF_TIMESTAMPING_OPT_TSONLY else bytes(skb)
    origin = SO_EE_ORIGIN_TIMESTAMPING
    put(
        sk,
        ErrorReport(errno.ENOMSG, origin, b"", 0, data=frame, key=key, control=(control,)),
    )
