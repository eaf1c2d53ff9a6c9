"""Every reason for which a frame, packet or segment can be lost: one enum for RTL and kernel.

The part before the dot is the place: `nic` members carry the counter's name in `hdl/nic.rdl`.
Compare `include/net/dropreason-core.h`.
"""

from __future__ import annotations

import enum


class Drop(enum.Enum):
    # wire (the model between two hosts)
    WIRE_LOSS = "wire.loss"
    # NIC, receive
    NIC_RX_BAD_FCS = "nic.rx_bad_fcs"
    NIC_RX_RUNT = "nic.rx_runt"
    NIC_RX_OVERSIZE = "nic.rx_oversize"
    NIC_RX_CODED_ERROR = "nic.rx_coded_error"
    NIC_RX_OVERFLOW = "nic.rx_overflow"
    NIC_RX_FILTERED = "nic.rx_filtered"
    NIC_RX_NO_DESCRIPTOR = "nic.rx_no_descriptor"
    NIC_RX_DISABLED = "nic.rx_disabled"
    NIC_RX_BUS_ERROR = "nic.rx_bus_error"
    NIC_RX_TRUNCATED = "nic.rx_truncated"
    # NIC, transmit
    NIC_TX_BUS_ERROR = "nic.tx_bus_error"
    NIC_TX_BAD_LENGTH = "nic.tx_bad_length"
    NIC_TX_UNDERRUN = "nic.tx_underrun"
    # device layer
    DEV_DOWN = "dev.down"
    DEV_TOO_LONG = "dev.too_long"
    DEV_RING_FULL = "dev.ring_full"
    DEV_BACKLOG_FULL = "dev.backlog_full"
    DEV_RESET = "dev.reset"
    XDP_DROP = "xdp.drop"
    XDP_ABORTED = "xdp.aborted"
    XDP_TX_FULL = "xdp.tx_full"
    XDP_REDIRECT_FAILED = "xdp.redirect_failed"
    QDISC_FULL = "qdisc.full"
    QDISC_FLOW_FULL = "qdisc.flow_full"
    QDISC_NETEM_LOSS = "qdisc.netem_loss"
    QDISC_REPLACED = "qdisc.replaced"
    # link layer
    BRIDGE_BAD_SOURCE = "bridge.bad_source"
    BRIDGE_SAME_PORT = "bridge.same_port"
    BRIDGE_NO_PORT = "bridge.no_port"
    ETH_TOO_SHORT = "eth.too_short"
    ETH_OTHERHOST = "eth.otherhost"
    ETH_UNKNOWN_PROTOCOL = "eth.unknown_protocol"
    ARP_MALFORMED = "arp.malformed"
    NEIGH_FAILED = "neigh.failed"
    NEIGH_QUEUE_FULL = "neigh.queue_full"
    # IP
    IP_TOO_SHORT = "ip.too_short"
    IP_BAD_HEADER = "ip.bad_header"
    IP_BAD_CHECKSUM = "ip.bad_checksum"
    IP_TRUNCATED = "ip.truncated"
    IP_FRAGMENT = "ip.fragment"
    IP_OTHER_ADDRESS = "ip.other_address"
    IP_MARTIAN_SOURCE = "ip.martian_source"
    IP_MARTIAN_DESTINATION = "ip.martian_destination"
    IP_RPFILTER = "ip.rpfilter"
    IP_NOT_MEMBER = "ip.not_member"
    IP_NOT_FORWARDED = "ip.not_forwarded"
    IP_TTL_EXCEEDED = "ip.ttl_exceeded"
    IP_BAD_OPTION = "ip.bad_option"
    IP_UNKNOWN_PROTOCOL = "ip.unknown_protocol"
    IP_NO_ROUTE = "ip.no_route"
    IP_TOO_BIG = "ip.too_big"
    ICMP_TOO_SHORT = "icmp.too_short"
    ICMP_BAD_CHECKSUM = "icmp.bad_checksum"
    ICMP_UNKNOWN_TYPE = "icmp.unknown_type"
    # netfilter
    NETFILTER_DROP = "netfilter.drop"
    CONNTRACK_TABLE_FULL = "conntrack.table_full"
    CONNTRACK_CLASH = "conntrack.clash"
    # UDP, raw and ping sockets
    UDP_TOO_SHORT = "udp.too_short"
    UDP_BAD_LENGTH = "udp.bad_length"
    UDP_BAD_CHECKSUM = "udp.bad_checksum"
    UDP_NO_SOCKET = "udp.no_socket"
    UDP_IGNORED_MULTICAST = "udp.ignored_multicast"
    UDP_RCVBUF_FULL = "udp.rcvbuf_full"
    RAW_RCVBUF_FULL = "raw.rcvbuf_full"
    RAW_BAD_CHECKSUM = "raw.bad_checksum"
    PING_NO_SOCKET = "ping.no_socket"
    PING_RCVBUF_FULL = "ping.rcvbuf_full"
    # TCP
    TCP_TOO_SHORT = "tcp.too_short"
    TCP_BAD_HEADER = "tcp.bad_header"
    TCP_BAD_CHECKSUM = "tcp.bad_checksum"
    TCP_NO_SOCKET = "tcp.no_socket"
    TCP_BAD_FLAGS = "tcp.bad_flags"
    TCP_OUT_OF_WINDOW = "tcp.out_of_window"
    TCP_INVALID_ACK = "tcp.invalid_ack"
    TCP_PAWS = "tcp.paws"
    TCP_DUPLICATE_DATA = "tcp.duplicate_data"
    TCP_ZERO_WINDOW = "tcp.zero_window"
    TCP_RCVBUF_FULL = "tcp.rcvbuf_full"
    TCP_OFO_FULL = "tcp.ofo_full"
    TCP_BACKLOG_FULL = "tcp.backlog_full"
    TCP_LISTEN_OVERFLOW = "tcp.listen_overflow"
    TCP_SYN_QUEUE_FULL = "tcp.syn_queue_full"
    TCP_CLOSED = "tcp.closed"
    TCP_RESET = "tcp.reset"

    @property
    def layer(self) -> str:
        return self.value.partition(".")[0]
