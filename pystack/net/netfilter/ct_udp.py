"""UDP as connection tracking follows it (`net/netfilter/nf_conntrack_proto_udp.c`)."""

from __future__ import annotations

from pystack.core.sysctl import Sysctl
from pystack.net.netfilter.conn import SECOND, Conn, Status, Track
from pystack.net.netfilter.packet import Packet

UDP_HLEN = 8
STREAM_AFTER = 2 * SECOND


def packet(conn: Conn, packet: Packet, sysctl: Sysctl) -> Track:
    """A flow that goes both ways for two seconds is a stream: it lives longer and is ASSURED.

    `conn.track` is when it will be one (`udp_packet`).
    """
    data = packet.transport
    length = packet.length - (packet.thoff - packet.start)
    if len(data) < UDP_HLEN:
        return Track.INVALID
    said = data[4] << 8 | data[5]
    if said < UDP_HLEN or said > length:
        return Track.INVALID
    timeout = sysctl["net.netfilter.nf_conntrack_udp_timeout"]
    if conn.track is None:
        conn.track = conn.kernel.now + STREAM_AFTER
    if conn.status & Status.SEEN_REPLY and conn.kernel.now > conn.track:
        timeout = sysctl["net.netfilter.nf_conntrack_udp_timeout_stream"]
        conn.status |= Status.ASSURED
    conn.refresh(timeout)
    return Track.ACCEPT
