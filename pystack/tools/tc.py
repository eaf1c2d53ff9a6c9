"""`tc qdisc`: queueing disciplines and their counters (`tc/tc_qdisc.c`, `q_*.c`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from pystack.dev.netdev import NetDevice, TxQueue
from pystack.dev.qdisc import Emulation, Fq, Netem, Pfifo, PfifoFast, Qdisc
from pystack.tools.ip_words import command, find_device, number
from pystack.tools.tool import Net, ToolError, in_task

_TIMES = {"s": 10**9, "ms": 10**6, "us": 10**3, "": 10**3, "ns": 1}
_RATES = {
    **{"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "": 1},
    **{"bps": 8, "kbps": 8 * 10**3, "mbps": 8 * 10**6, "gbps": 8 * 10**9},
}


def tc(net: Net, args: Sequence[str]) -> str:
    """`tc [-s] qdisc [show [dev DEV]]`, `tc qdisc {add|replace|del} dev DEV root [KIND ...]`."""
    words = [word for word in args if not word.startswith("-")]
    statistics = any(word in ("-s", "-stats", "-statistics") for word in args)
    unknown = [w for w in args if w.startswith("-") and w not in ("-s", "-stats", "-statistics")]
    if unknown:
        raise ToolError(f'Option "{unknown[0]}" is unknown, try "tc -help".', 255)
    if not words or not "qdisc".startswith(words[0]):
        what = words[0] if words else ""
        raise ToolError(f'Object "{what}" is unknown, try "tc help".', 1)
    del words[0]
    names = ("show", "list", "add", "replace", "change", "del", "delete")
    action = command(words, names, "qdisc")
    if action == "show":
        return _show(net, words, statistics)
    dev, rest = _target(net, words)
    create = PfifoFast if action in ("del", "delete") else _creator(rest)
    in_task(net, dev.set_qdisc, create)
    return ""


def _target(net: Net, words: list[str]) -> tuple[NetDevice, list[str]]:
    if words[:1] != ["dev"] or len(words) < 3 or words[2] != "root":
        raise ToolError('Command line is not complete. Try "tc qdisc replace dev DEV root KIND"', 1)
    return find_device(net, words[1]), words[3:]


# -- showing -------------------------------------------------------------------------------


def _show(net: Net, words: list[str], statistics: bool) -> str:
    devices = list(net.core.devices.values())
    if words[:1] == ["dev"] and len(words) > 1:
        devices = [find_device(net, words[1])]
    named = len(words) < 2
    text = ""
    for dev in devices:
        where = f"dev {dev.name} " if named else ""
        if len(dev.tx_queues) > 1:
            text += f"qdisc mq 0: {where}root \n"
            text += _statistics(dev.tx_queues) if statistics else ""
        for queue in dev.tx_queues:
            place = "root refcnt 2" if len(dev.tx_queues) == 1 else f"parent :{queue.index + 1:x}"
            qdisc = queue.qdisc
            handle = "0:" if isinstance(qdisc, PfifoFast) else f"{0x8000 + dev.ifindex:x}:"
            text += f"qdisc {qdisc.kind} {handle} {where}{place}{_options(qdisc)}\n"
            text += _statistics([queue]) if statistics else ""
    return text


def _statistics(queues: Sequence[TxQueue]) -> str:
    def total(name: str) -> int:
        return sum(getattr(queue.qdisc.stats, name) for queue in queues)

    waiting = [skb for queue in queues for skb in (*queue.qdisc.waiting(), *queue.requeued)]
    return (
        f" Sent {total('bytes')} bytes {total('packets')} pkt (dropped {total('dropped')}, "
        f"overlimits {total('overlimits')} requeues {total('requeues')}) \n"
        f" backlog {_size(sum(map(len, waiting)))} {len(waiting)}p requeues {total('requeues')}\n"
    )


def _size(count: int) -> str:
    """Bytes as tc writes them: whole multiples of 1024 in K or M."""
    for unit, size in (("Mb", 1 << 20), ("Kb", 1 << 10)):
        if count >= size and abs(size * round(count / size) - count) < size / 1024:
            return f"{round(count / size)}{unit}"
    return f"{count}b"


def _options(qdisc: Qdisc) -> str:
    if isinstance(qdisc, PfifoFast):
        return f" bands 3 priomap {' '.join(map(str, PfifoFast.PRIO2BAND))}"
    if isinstance(qdisc, Pfifo):
        return f" limit {qdisc.limit}p"
    if isinstance(qdisc, Fq):
        rate = f" maxrate {_rate(qdisc.maxrate * 8)}" if qdisc.maxrate else ""
        return f" limit {qdisc.limit}p flow_limit {Fq.FLOW_PLIMIT}p quantum {qdisc.quantum}b{rate}"
    assert isinstance(qdisc, Netem)
    return f" limit {qdisc.limit}{_emulation(qdisc.setting)}"


def _emulation(setting: Emulation) -> str:
    text = ""
    if setting.delay:
        text += f" delay {_time(setting.delay)}"
        text += f"  {_time(setting.jitter)}" if setting.jitter else ""
    for name in ("loss", "duplicate", "reorder", "corrupt"):
        share = getattr(setting, name)
        text += f" {name} {100 * share:g}%" if share else ""
    return text + (f" rate {_rate(setting.rate * 8)}" if setting.rate else "")


def _time(ns: int) -> str:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if ns >= size:
            return f"{ns / size:.3g}{unit}"
    return f"{ns}ns"


def _rate(bits: int) -> str:
    """In the largest unit that divides it."""
    for unit, size in (("Gbit", 10**9), ("Mbit", 10**6), ("Kbit", 10**3)):
        if bits >= size and bits % size == 0:
            return f"{bits // size}{unit}"
    return f"{bits}bit"


# -- changing ------------------------------------------------------------------------------


def _creator(words: list[str]) -> Callable[[NetDevice], Qdisc]:
    kind, rest = (words[0], words[1:]) if words else ("", [])
    if kind == "pfifo_fast" and not rest:
        return PfifoFast
    if kind == "pfifo":
        return partial(Pfifo, limit=_limit(rest, kind, None))
    if kind == "fq":
        return _fq(rest)
    if kind == "netem":
        return _netem(rest)
    raise ToolError("Error: Specified qdisc kind is unknown.", 2)


def _limit(words: list[str], kind: str, default: int | None) -> int | None:
    if not words:
        return default
    if len(words) != 2 or words[0] != "limit":
        raise ToolError(f'What is "{words[0]}"? (qdisc {kind})', 1)
    return number(words[1], "limit")


def _fq(words: list[str]) -> Callable[[NetDevice], Qdisc]:
    limit, maxrate = 10_000, 0
    for name, value in zip(words[::2], words[1::2], strict=False):
        if name == "limit":
            limit = number(value, "limit")
        elif name == "maxrate":
            maxrate = _parse(value, _RATES, "rate") // 8
        else:
            raise ToolError(f'What is "{name}"? (qdisc fq)', 1)
    return partial(Fq, limit=limit, maxrate=maxrate)


def _netem(words: list[str]) -> Callable[[NetDevice], Qdisc]:
    """`delay TIME [JITTER]`, `loss|duplicate|corrupt|reorder P%`, `rate R`, `limit N`."""
    setting: dict[str, float] = {}
    limit = 1000
    while words:
        name = words.pop(0)
        if not words:
            raise ToolError('Command line is not complete. Try option "help"', 1)
        value = words.pop(0)
        if name in ("delay", "latency"):
            setting["delay"] = _parse(value, _TIMES, "delay")
            if words and words[0][0].isdigit():
                setting["jitter"] = _parse(words.pop(0), _TIMES, "jitter")
        elif name in ("loss", "duplicate", "corrupt", "reorder"):
            value = words.pop(0) if value == "random" and words else value
            setting[name] = _share(value)
        elif name == "rate":
            setting["rate"] = _parse(value, _RATES, "rate") // 8
        elif name == "limit":
            limit = number(value, "limit")
        else:
            raise ToolError(f'What is "{name}"? (qdisc netem)', 1)
    emulation = Emulation(**setting)  # type: ignore[arg-type]
    return partial(Netem, limit=limit, setting=emulation)


def _parse(text: str, units: dict[str, int], what: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]*)", text.lower())
    if match is None or match[2] not in units:
        raise ToolError(f'Illegal "{what}" "{text}"', 1)
    return int(float(match[1]) * units[match[2]])


def _share(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    if match is None or float(match[1]) > 100:
        raise ToolError(f'Illegal "percent" "{text}"', 1)
    return float(match[1]) / 100
