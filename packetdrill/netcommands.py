"""ip, tc, ethtool and the like of scripts, as far as the host has what they set."""

from __future__ import annotations

from packetdrill.errors import Unsupported
from packetdrill.session import Session
from pystack.dev.netdev import TX_QUEUE_LEN
from pystack.dev.qdisc import Fq, Pfifo

_METRICS = {"mtu", "advmss", "initcwnd", "initrwnd", "rto_min", "rtt", "rttvar", "cwnd"}
_METRICS |= {"ssthresh", "window", "quickack", "congctl", "features", "reordering", "hoplimit"}
_TIMES = {"rto_min", "rtt", "rttvar"}
_FLAGS = {"lock"}
_WHERE = {"via", "dev", "src", "proto", "scope", "metric"}


def _no(words: tuple[str, ...], kind: str) -> Unsupported:
    return Unsupported(f"command {' '.join(words)!r}", kind=kind)


def ip(session: Session, words: tuple[str, ...]) -> None:
    """`ip tcp_metrics flush`, `ip route add|change|replace PREFIX ... METRIC VALUE`."""
    args = [word for word in words[1:] if word not in ("-4", "-6", "-q")]
    if args[:2] == ["tcp_metrics", "flush"]:
        return  # every script has a host of its own
    if args[:1] in (["route"], ["ro"], ["r"]) and args[1:2] and args[1] in _ROUTE_VERBS:
        _route(session, words, args[2:])
        return
    raise _no(words, "command ip")


_ROUTE_VERBS = {"add", "change", "replace"}


def _route(session: Session, words: tuple[str, ...], args: list[str]) -> None:
    prefix, *rest = args
    metrics: dict[str, int | str] = {}
    while rest:
        name = rest.pop(0)
        if name in _FLAGS:
            continue
        if name not in _METRICS | _WHERE or not rest:
            raise _no(words, f"route metric {name}")
        if rest[0] in _FLAGS:
            rest.pop(0)
        value = rest.pop(0)
        if name in _METRICS:
            metrics[name] = _number(name, value)
    if not metrics:
        return
    network = getattr(session.machine.host, "ipv6" if ":" in prefix else "ipv4", None)
    change = getattr(network, "set_route_metrics", None)
    if change is None:
        raise _no(words, f"route metrics {' '.join(sorted(metrics))}")
    change(prefix, **metrics)


def _number(name: str, value: str) -> int | str:
    """Times in ms, as `ip route` takes them without a unit."""
    if name in _TIMES:
        for unit, factor in (("ms", 1), ("s", 1000)):
            if value.endswith(unit):
                return int(float(value.removesuffix(unit)) * factor)
    return int(value, 0) if value[:1].isdigit() else value


_QDISC_VERBS = [(verb,) for verb in ("add", "change", "replace", "delete", "del")]


def tc(session: Session, words: tuple[str, ...]) -> None:
    """`pfifo` is what the device has, `limit` its length; with `fq` TCP paces."""
    if words[1:2] != ("qdisc",) or words[2:3] not in _QDISC_VERBS:
        raise _no(words, "command tc")
    verb = words[2]
    device = session.machine.device
    device.tx_queue_len = TX_QUEUE_LEN
    device.set_qdisc(Pfifo)
    if verb in ("delete", "del"):
        return
    kinds = [word for word in words[3:] if word not in ("dev", device.name, "root")]
    if kinds == ["fq"]:
        device.set_qdisc(Fq)
        return
    if not kinds or kinds[0] not in ("pfifo", "pfifo_fast"):
        raise _no(words, f"qdisc {' '.join(kinds[:1])}")
    if len(kinds) == 3 and kinds[1] == "limit":
        device.tx_queue_len = int(kinds[2])
    elif len(kinds) > 1:
        raise _no(words, f"qdisc {kinds[0]} options")


def ethtool(session: Session, words: tuple[str, ...]) -> None:
    """`-K tun0 gso off tso off`; what the device does not have is off already."""
    if words[1:2] != ("-K",):
        raise _no(words, "command ethtool")
    features = session.machine.device.features
    if len(words) % 2 == 0 or not set(words[4::2]) <= {"on", "off"}:
        raise _no(words, "command ethtool")
    for name, state in zip(words[3::2], words[4::2], strict=False):
        if name in features:
            features[name] = state == "on"
        elif state == "on":
            raise _no(words, f"offload {name}")


def grep(session: Session, words: tuple[str, ...]) -> None:
    """A counter of `nstat` must have moved: packetdrill fails on grep's exit status."""
    pattern = words[-1]
    if not pattern.startswith("TcpExt") and not pattern.startswith(("Tcp", "Ip", "Icmp")):
        raise _no(words, "command grep")
    mib = session.machine.host.kernel.mib
    if not any(mib[name] for name in mib if pattern in name):
        raise Unsupported(f"counter {pattern} did not move", kind=f"counter {pattern}")
