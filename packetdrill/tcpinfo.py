"""`struct tcp_info` of Linux 6 as names and numbers (`include/uapi/linux/tcp.h`)."""

from __future__ import annotations

import struct

TCP_INFO = 11
# Eight bytes, 24 words, then as listed; a kernel that knows less returns less.
_BYTES = "state ca_state retransmits probes backoff options".split()
_WORDS = (
    "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets last_data_sent last_ack_sent "
    "last_data_recv last_ack_recv pmtu rcv_ssthresh rtt rttvar snd_ssthresh snd_cwnd advmss "
    "reordering rcv_rtt rcv_space total_retrans"
).split()
_LATER: tuple[tuple[str, str], ...] = (
    ("Q", "pacing_rate max_pacing_rate bytes_acked bytes_received"),
    ("I", "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out"),
    ("Q", "delivery_rate busy_time rwnd_limited sndbuf_limited"),
    ("I", "delivered delivered_ce"),
    ("Q", "bytes_sent bytes_retrans"),
    ("I", "dsack_dups reord_seen rcv_ooopack snd_wnd rcv_wnd rehash"),
    ("H", "total_rto total_rto_recoveries"),
    ("I", "total_rto_time"),
)

# enum tcp states and tcp_ca_state (`include/net/tcp_states.h`), TCPI_OPT_*.
SYMBOLS = {
    **{
        f"TCP_{name}": number
        for number, name in enumerate(
            (
                "ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT "
                "LAST_ACK LISTEN CLOSING NEW_SYN_RECV"
            ).split(),
            1,
        )
    },
    **{
        f"TCP_CA_{name}": number
        for number, name in enumerate("Open Disorder CWR Recovery Loss".split())
    },
    **{
        f"TCPI_OPT_{name}": 1 << bit
        for bit, name in enumerate(
            "TIMESTAMPS SACK WSCALE ECN ECN_SEEN SYN_DATA USEC_TS TFO_CHILD".split()
        )
    },
}


def _layout() -> list[tuple[str, str, int]]:
    """(name, format, offset) of every field behind the bit fields."""
    fields = [(name, "B", at) for at, name in enumerate(_BYTES)]
    at = 8
    for kind, names in (("I", " ".join(_WORDS)), *_LATER):
        size = struct.calcsize("=" + kind)
        for name in names.split():
            fields.append((name, kind, at))
            at += size
    return fields


LAYOUT = tuple(_layout())


def parse(data: bytes) -> dict[str, int]:
    """`tcpi_*` by name, as many as `data` holds."""
    found = {}
    for name, kind, at in LAYOUT:
        if at + struct.calcsize("=" + kind) <= len(data):
            found[f"tcpi_{name}"] = int(struct.unpack_from("=" + kind, data, at)[0])
    if len(data) >= 8:
        found["tcpi_snd_wscale"] = data[6] & 15
        found["tcpi_rcv_wscale"] = data[6] >> 4
        found["tcpi_delivery_rate_app_limited"] = data[7] & 1
        found["tcpi_fastopen_client_fail"] = data[7] >> 1 & 3
    return found
