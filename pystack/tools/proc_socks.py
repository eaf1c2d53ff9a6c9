"""/proc/net/tcp, udp, raw, unix: a line a socket (`tcp4_seq_show`, `udp4_seq_show`)."""

from __future__ import annotations

import socket as so
from collections.abc import Callable, Iterable

from pystack.tools import diag, ss_unix
from pystack.tools.diag import Entry, Files
from pystack.tools.tool import Net
from pystack.transport import sockopt
from pystack.transport.sock import Sock
from pystack.transport.tcp.sock import TcpSock
from pystack.transport.tcp.state import TcpState
from pystack.transport.unix.base import State, UnixSock

TICK = 10_000_000  # ns: the user's clock tick, USER_HZ 100
_COLUMNS = "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
_KINDS = {diag.ON: 1, diag.KEEPALIVE: 2, diag.TIMEWAIT: 3, diag.PERSIST: 4}


def _endpoint(address: bytes, port: int) -> str:
    """In words of the machine's order."""
    words = (address[at : at + 4] for at in range(0, len(address), 4))
    return "".join(f"{int.from_bytes(word, 'little'):08X}" for word in words) + f":{port:04X}"


def _common(entry: Entry) -> str:
    kind, left, retrans = entry.timer
    listening = entry.state is TcpState.LISTEN
    tx = 0 if listening else entry.sendq
    when = max(left, 0) // TICK
    probes = entry.sk.probes_out if isinstance(entry.sk, TcpSock) else 0
    return (
        f"{_endpoint(entry.laddr, entry.lport)} {_endpoint(entry.raddr, entry.rport)} "
        f"{entry.state:02X} {tx:08X}:{entry.recvq:08X} {_KINDS.get(kind, 0):02X}:{when:08X} "
        f"{retrans:08X} {entry.uid:5} {probes:8} {entry.ino}"
    )


def _table(
    net: Net,
    family: int,
    entries: Iterable[Entry],
    line: Callable[[Net, int, Entry], str],
    header: str,
    width: int,
) -> str:
    lines = [header]
    mine = (entry for entry in entries if entry.family == family)
    lines += [line(net, at, entry) for at, entry in enumerate(mine)]
    return "".join(f"{text:<{width}}\n" for text in lines)


def _tcp_line(net: Net, at: int, entry: Entry) -> str:
    sk = entry.sk
    text = f"{at:4}: {_common(entry)} {_reference(net, entry)}"
    if not isinstance(sk, TcpSock):
        return text
    ato, pingpong = sk.ack.ato // TICK, sk.ack.quick << 1 | sk.ack.interactive
    ssthresh = sk.cw.ssthresh if sk.cw.ssthresh < 0x7FFFFFFF else -1
    if entry.state is TcpState.LISTEN:
        ssthresh = 0
    return f"{text} {sk.rtt.rto // TICK} {ato} {pingpong} {sk.cw.cwnd} {ssthresh}"


def _reference(net: Net, entry: Entry) -> str:
    """A count of references, and in place of a pointer the socket's cookie."""
    sk = entry.sk
    count = 1 + bool(entry.ino) if isinstance(sk, Sock) else 3
    return f"{count} {sockopt.cookie(net.kernel, sk):016x}"


def _udp_line(net: Net, at: int, entry: Entry) -> str:
    drops = entry.sk.sk_drops if isinstance(entry.sk, Sock) else 0
    return f"{entry.lport:5}: {_common(entry)} {_reference(net, entry)} {drops}"


def _tcp(net: Net, family: int) -> str:
    six = family == so.AF_INET6
    header = f"  sl  local_address{' ' * 25 if six else ' '}"
    header += f"{'remote_address' + ' ' * 24 if six else 'rem_address  '} {_COLUMNS}"
    return _table(net, family, diag.tcp(net, Files(net)), _tcp_line, header, 0 if six else 149)


def _datagrams(net: Net, family: int, entries: Iterable[Entry]) -> str:
    six = family == so.AF_INET6
    header = f"  {' ' * (not six)}sl  local_address{' ' * 25 if six else ' '}"
    header += f"{'remote_address' + ' ' * 24 if six else 'rem_address  '} {_COLUMNS}"
    return _table(net, family, entries, _udp_line, header + " ref pointer drops", 0 if six else 127)


def tcp4(net: Net) -> str:
    return _tcp(net, so.AF_INET)


def tcp6(net: Net) -> str:
    return _tcp(net, so.AF_INET6)


def udp4(net: Net) -> str:
    return _datagrams(net, so.AF_INET, diag.udp(net, Files(net)))


def udp6(net: Net) -> str:
    return _datagrams(net, so.AF_INET6, diag.udp(net, Files(net)))


def raw4(net: Net) -> str:
    return _datagrams(net, so.AF_INET, diag.raw(net, Files(net)))


def raw6(net: Net) -> str:
    return _datagrams(net, so.AF_INET6, diag.raw(net, Files(net)))


def unix(net: Net) -> str:
    """`unix_seq_show`; the number is the socket's cookie."""
    text = "Num       RefCount Protocol Flags    Type St Inode Path\n"
    for entry in ss_unix.unix(net, Files(net)):
        sk = entry.sk
        assert isinstance(sk, UnixSock)
        listening = sk.state is State.LISTEN
        state = {State.CLOSE: 1, State.LISTEN: 1, State.ESTABLISHED: 3}[sk.state]
        path = f" {ss_unix.name_text(sk.name)}" if sk.name else ""
        text += (
            f"{sockopt.cookie(net.kernel, sk):016x}: {2 + (sk.peer is not None):08X} "
            f"{0:08X} {0x10000 if listening else 0:08X} {sk.type:04X} {state:02X} "
            f"{entry.ino:5}{path}\n"
        )
    return text
