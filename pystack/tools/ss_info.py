"""What `ss -i -m -o -e` says of one socket, behind the addresses."""

from __future__ import annotations

from pystack.tools.diag import OFF, TIMERS, Entry
from pystack.transport import sockopt
from pystack.transport.inetsock import InetSock
from pystack.transport.sock import RCV_SHUTDOWN, SEND_SHUTDOWN, Sock
from pystack.transport.tcp import info
from pystack.transport.tcp.request import RequestSock
from pystack.transport.tcp.sock import TcpSock
from pystack.transport.tcp.state import TcpState
from pystack.transport.tcp.timewait import TimeWaitSock

_MEMORY = ("r", "rb", "t", "tb", "f", "w", "o", "bl", "d")
_UNLIMITED = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_OPTIONS = (
    (info.OPT_TIMESTAMPS, "ts"),
    (info.OPT_SACK, "sack"),
    (info.OPT_ECN, "ecn"),
    (info.OPT_ECN_SEEN, "ecnseen"),
)
TIMEOUT_FALLBACK = 3_000_000  # us: an RTO that says nothing


def timer(entry: Entry) -> str:
    kind, left, retrans = entry.timer
    if kind == OFF:
        return ""
    return f" timer:({TIMERS[kind]},{_ms(max(left, 0) // 1_000_000)},{retrans})"


def _ms(total: int) -> str:
    """ms as `1min59sec`, `12sec`, `1.200sec`, `204ms` (`print_ms_timer`)."""
    seconds, ms = divmod(total, 1000)
    minutes, seconds = divmod(seconds, 60)
    text = ""
    if minutes:
        ms = 0
        text = f"{minutes}min"
        seconds = 0 if minutes > 9 else seconds
    if seconds:
        ms = 0 if seconds > 9 else ms
        text += f"{seconds}{'.' if ms else 'sec'}"
    if ms:
        text += f"{ms:03}{'sec' if seconds else 'ms'}"
    return text


def details(entry: Entry) -> str:
    """User, inode, cookie; of a whole socket also mark and which directions are shut down."""
    sk = entry.sk
    kernel = sk.tcp.kernel if isinstance(sk, RequestSock | TimeWaitSock) else sk.kernel
    text = f" uid:{entry.uid}" if entry.uid else ""
    text += f" ino:{entry.ino} sk:{sockopt.cookie(kernel, sk):x}"
    if not isinstance(sk, Sock):
        return text
    if sk.sk_mark:
        text += f" fwmark:0x{sk.sk_mark:x}"
    if isinstance(sk, InetSock) and len(entry.laddr) == 16:
        text += f" v6only:{int(sk.v6only)}"
    return text + shutdown(sk)


def shutdown(sk: Sock) -> str:
    left = "-" if sk.sk_shutdown & RCV_SHUTDOWN else "<"
    return f" {left}-{'-' if sk.sk_shutdown & SEND_SHUTDOWN else '>'}"


def memory(sk: object) -> str:
    """What a request or a TIME_WAIT holds is not counted."""
    if not isinstance(sk, Sock):
        return ""
    values = zip(_MEMORY, sockopt.meminfo(sk), strict=True)
    return f" skmem:({','.join(f'{name}{value}' for name, value in values)})"


def tcp_stats(sk: TcpSock, options: bool, exact: bool) -> str:
    """`tcp_info` in words (`tcp_stats_print`); rates as whole bits a second if `exact`."""
    values = info.fields(sk)
    words = [word for bit, word in _OPTIONS if options and values["options"] & bit]
    words.append(sk.cw.algorithm.name)
    if values["options"] & info.OPT_WSCALE:
        scales = values["wscales"]
        words.append(f"wscale:{scales & 15},{scales >> 4}")
    words += _times(values)
    words += _counts(values)
    words += _rates(values, exact)
    words += _busy(values)
    words += _losses(values, sk.state is TcpState.LISTEN)
    return " " + " ".join(words)


def _g(value: float) -> str:
    return f"{value:g}"


def _times(v: dict[str, int]) -> list[str]:
    words = []
    if v["rto"] and v["rto"] != TIMEOUT_FALLBACK:
        words.append(f"rto:{_g(v['rto'] / 1000)}")
    words += _named(v, backoff="backoff")
    if v["rtt"]:
        words.append(f"rtt:{_g(v['rtt'] / 1000)}/{_g(v['rttvar'] / 1000)}")
    if v["ato"]:
        words.append(f"ato:{_g(v['ato'] / 1000)}")
    words += _named(v, mss="snd_mss", pmtu="pmtu", rcvmss="rcv_mss", advmss="advmss")
    words += _named(v, cwnd="snd_cwnd")
    if v["snd_ssthresh"] < 0xFFFF:
        words += _named(v, ssthresh="snd_ssthresh")
    return words


def _named(v: dict[str, int], **fields: str) -> list[str]:
    """`name:value` of those that are not 0."""
    return [f"{name}:{v[field]}" for name, field in fields.items() if v[field]]


def _same(v: dict[str, int], *names: str) -> list[str]:
    return _named(v, **{name: name for name in names})


def _counts(v: dict[str, int]) -> list[str]:
    return _same(
        v,
        *("bytes_sent", "bytes_retrans", "bytes_acked", "bytes_received"),
        *("segs_out", "segs_in", "data_segs_out", "data_segs_in"),
    )


def _rates(v: dict[str, int], exact: bool) -> list[str]:
    words = []
    if v["rtt"] and v["snd_mss"] and v["snd_cwnd"]:
        bits = v["snd_cwnd"] * v["snd_mss"] * 8_000_000 / v["rtt"]
        words.append(f"send {_bits(bits, exact)}")
    words += _named(v, lastsnd="last_data_sent", lastrcv="last_data_recv", lastack="last_ack_recv")
    if v["pacing_rate"] and v["pacing_rate"] not in _UNLIMITED:
        rate = f"pacing_rate {_bits(v['pacing_rate'] * 8, exact)}"
        if v["max_pacing_rate"] and v["max_pacing_rate"] not in _UNLIMITED:
            rate += f"/{_bits(v['max_pacing_rate'] * 8, exact)}"
        words.append(rate)
    if v["delivery_rate"]:
        words.append(f"delivery_rate {_bits(v['delivery_rate'] * 8, exact)}")
    words += _same(v, "delivered", "delivered_ce")
    return words + ["app_limited"] * bool(v["app_limited"])


def _bits(rate: float, exact: bool) -> str:
    if exact:
        return f"{rate:.0f}bps"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rate >= size:
            return f"{rate / size:.3g}{unit}bps"
    return f"{rate:g}bps"


def _busy(v: dict[str, int]) -> list[str]:
    total = v["busy_time"]
    if not total:
        return []
    words = [f"busy:{total // 1000}ms"]
    for name in ("rwnd_limited", "sndbuf_limited"):
        if v[name]:
            words.append(f"{name}:{v[name] // 1000}ms({100 * v[name] / total:.1f}%)")
    return words


def _losses(v: dict[str, int], listening: bool) -> list[str]:
    words = _same(v, "unacked")
    if v["retrans"] or v["total_retrans"]:
        words.append(f"retrans:{v['retrans']}/{v['total_retrans']}")
    words += _same(v, "lost")
    if not listening:
        words += _same(v, "sacked")
    words += _same(v, "dsack_dups")
    if v["reordering"] != 3:
        words.append(f"reordering:{v['reordering']}")
    words += _same(v, "reord_seen")
    if v["rcv_rtt"]:
        words.append(f"rcv_rtt:{_g(v['rcv_rtt'] / 1000)}")
    words += _same(v, "rcv_space", "rcv_ssthresh") + _named(v, notsent="notsent_bytes")
    if v["min_rtt"] not in (0, 0xFFFFFFFF):
        words.append(f"minrtt:{_g(v['min_rtt'] / 1000)}")
    return words + _same(v, "rcv_ooopack", "snd_wnd", "rcv_wnd", "rehash")
