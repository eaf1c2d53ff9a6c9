"""Matches that look at more than the transport header."""

from __future__ import annotations

from pystack.net.netfilter.conn import SECOND
from pystack.net.netfilter.packet import Packet
from pystack.net.netfilter.xt import Given, Match, Option, Options, Rest, XtablesError
from pystack.net.netfilter.xt_values import Mark, number, quoted


def _not(inverted: bool) -> str:
    return " !" if inverted else ""


class CommentMatch(Match):
    name = "comment"
    options = (Option(("--comment",)),)
    MAX = 256

    def __init__(self, given: Options, rest: Rest) -> None:
        if "--comment" not in given:
            raise XtablesError('comment: option "--comment" must be specified')
        self.text = given["--comment"].value
        if len(self.text) >= self.MAX:
            raise XtablesError("comment: COMMENT must be shorter than 256 characters")

    def matches(self, packet: Packet) -> bool:
        return True

    def save(self) -> str:
        return f" --comment {quoted(self.text)}"

    def listing(self) -> str:
        return f" /* {self.text} */"


class MarkMatch(Match):
    name = "mark"
    options = (Option(("--mark",), invert=True),)

    def __init__(self, given: Options, rest: Rest) -> None:
        if "--mark" not in given:
            raise XtablesError(f'{self.name}: option "--mark" must be specified')
        self.inverted = given["--mark"].inverted
        self.mark = Mark.parse(given["--mark"].value, "--mark")

    def matches(self, packet: Packet) -> bool:
        return (packet.skb.mark & self.mark.mask == self.mark.value) is not self.inverted

    def save(self) -> str:
        return f"{_not(self.inverted)} --mark {self.mark}"

    def listing(self) -> str:
        return f" mark match{_not(self.inverted)} {self.mark}"


class ConnmarkMatch(MarkMatch):
    name = "connmark"

    def __init__(self, given: Options, rest: Rest) -> None:
        super().__init__(given, rest)
        rest.family.need_conntrack()

    def matches(self, packet: Packet) -> bool:
        ref = packet.skb.nfct
        if ref is None or ref.conn is None:
            return False
        return (ref.conn.mark & self.mark.mask == self.mark.value) is not self.inverted

    def listing(self) -> str:
        return f" connmark match {_not(self.inverted)} {self.mark}".replace("  ! ", " ! ")


_UNITS = {"day": 86400, "hour": 3600, "min": 60, "sec": 1}
_SCALE = 10_000  # XT_LIMIT_SCALE: units of a second
_CREDITS = 32_000  # of a second, of which Linux must be able to count a burst in 32 bits


class LimitMatch(Match):
    """A token bucket (`net/netfilter/xt_limit.c`)."""

    name = "limit"
    options = (Option(("--limit",)), Option(("--limit-burst",)))

    def __init__(self, given: Options, rest: Rest) -> None:
        rate = given["--limit"].value if "--limit" in given else "3/hour"
        self.period = self._period(rate)
        self.burst = 5
        if "--limit-burst" in given:
            self.burst = number(given["--limit-burst"].value, "--limit-burst", 1, 10000)
        self.kernel = rest.family.kernel
        self._cost = self.period * SECOND // _SCALE
        self._credit = self._cost * self.burst
        self._before = self.kernel.now
        if self.period * self.burst // _SCALE * _CREDITS >= 1 << 32:
            raise XtablesError("Numerical result out of range.")

    def _period(self, rate: str) -> int:
        """Of one packet, in units of 1/_SCALE s."""
        count, slash, unit = rate.partition("/")
        seconds = 1
        if slash:
            words = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
            seconds = next((s for word, s in words.items() if word.startswith(unit or "?")), 0)
        if not count.isdigit() or not int(count) or not seconds:
            raise XtablesError(f'limit: bad value for option "--limit": "{rate}"')
        period = _SCALE * seconds // int(count)
        if period == 0 or int(count) / seconds > _SCALE:
            raise XtablesError(f'limit: Rate too fast "{rate}"')
        return period

    def matches(self, packet: Packet) -> bool:
        now = self.kernel.now
        self._credit = min(self._credit + now - self._before, self._cost * self.burst)
        self._before = now
        if self._credit < self._cost:
            return False
        self._credit -= self._cost
        return True

    def _rate(self) -> str:
        chosen = "day"
        for unit, seconds in list(_UNITS.items())[1:]:
            multiple = seconds * _SCALE
            if self.period > multiple or multiple // self.period < multiple % self.period:
                break
            chosen = unit
        return f"{_UNITS[chosen] * _SCALE // self.period}/{chosen}"

    def save(self) -> str:
        burst = "" if self.burst == 5 else f" --limit-burst {self.burst}"
        return f" --limit {self._rate()}{burst}"

    def listing(self) -> str:
        return f" limit: avg {self._rate()} burst {self.burst}"


class StatisticMatch(Match):
    """One packet in n, or each by chance from the host's seed (`net/netfilter/xt_statistic.c`)."""

    name = "statistic"
    options = (
        Option(("--mode",)),
        Option(("--probability",), invert=True),
        Option(("--every",), invert=True),
        Option(("--packet",)),
    )
    ONE = 0x80000000

    def __init__(self, given: Options, rest: Rest) -> None:
        self.mode = given["--mode"].value if "--mode" in given else ""
        self.rng = rest.family.kernel.rng
        self.inverted = False
        if self.mode == "random":
            self._random(given)
        elif self.mode == "nth":
            self._nth(given)
        else:
            raise XtablesError(f'Bad mode "{self.mode}"')

    def _random(self, given: Options) -> None:
        if "--probability" not in given:
            raise XtablesError('statistic: option "--probability" must be specified')
        self.inverted = given["--probability"].inverted
        try:
            share = float(given["--probability"].value)
        except ValueError:
            share = -1
        if not 0 <= share <= 1:
            raise XtablesError("statistic: --probability must be between 0 and 1")
        self.probability = int(share * self.ONE + 0.5)

    def _nth(self, given: Options) -> None:
        if "--every" not in given:
            raise XtablesError('statistic: option "--every" must be specified')
        if "--packet" not in given:
            raise XtablesError('statistic: option "--every" also requires "--packet".')
        self.inverted = given["--every"].inverted
        self.every = number(given["--every"].value, "--every", 1)
        self.packet = number(given["--packet"].value, "--packet")
        if self.packet >= self.every:
            raise XtablesError("the --packet p must be 0 <= p <= n-1")
        self._count = self.every - self.packet - 1

    def matches(self, packet: Packet) -> bool:
        if self.mode == "random":
            return (self.rng.getrandbits(31) < self.probability) is not self.inverted
        self._count += 1
        hit = self._count == self.every
        if hit:
            self._count = 0
        return hit is not self.inverted

    def _text(self, dashes: str) -> str:
        sign = _not(self.inverted)
        if self.mode == "random":
            share = f"{self.probability / self.ONE:.11f}"
            return f" {dashes}mode random{sign} {dashes}probability {share}"
        return f" {dashes}mode nth{sign} {dashes}every {self.every} {dashes}packet {self.packet}"

    def save(self) -> str:
        return self._text("--")

    def listing(self) -> str:
        return f" statistic{self._text('')}"


_TYPES = (
    "UNSPEC UNICAST LOCAL BROADCAST ANYCAST MULTICAST BLACKHOLE UNREACHABLE PROHIBIT THROW NAT "
    "XRESOLVE"
).split()


class AddrtypeMatch(Match):
    """What an address is to this host's routes."""

    name = "addrtype"
    options = (
        Option(("--src-type",), invert=True),
        Option(("--dst-type",), invert=True),
        Option(("--limit-iface-in",), 0),
        Option(("--limit-iface-out",), 0),
    )

    def __init__(self, given: Options, rest: Rest) -> None:
        self.family = rest.family
        self.src = self._types(given.get("--src-type"))
        self.dst = self._types(given.get("--dst-type"))
        self.limit_in = "--limit-iface-in" in given
        self.limit_out = "--limit-iface-out" in given
        if self.src is None and self.dst is None:
            raise XtablesError("addrtype: you must specify --src-type or --dst-type")
        if self.limit_in and self.limit_out:
            raise XtablesError("addrtype: you can't specify both --limit-iface-in and -out")

    def _types(self, given: Given | None) -> tuple[tuple[str, ...], bool] | None:
        if given is None:
            return None
        names = given.value.upper().split(",")
        for name in names:
            if name not in _TYPES:
                raise XtablesError(f"addrtype: bad type `{name}'")
        return tuple(name for name in _TYPES if name in names), given.inverted

    def matches(self, packet: Packet) -> bool:
        dev = None
        if self.limit_in:
            dev = packet.state.indev
        elif self.limit_out:
            dev = packet.state.outdev
        for wanted, address in ((self.src, packet.src), (self.dst, packet.dst)):
            if wanted is not None:
                types, inverted = wanted
                if (self.family.address_type(address, dev) in types) is inverted:
                    return False
        return True

    def save(self) -> str:
        text = ""
        for name, wanted in (("--src-type", self.src), ("--dst-type", self.dst)):
            if wanted is not None:
                text += f"{_not(wanted[1])} {name} {','.join(wanted[0])}"
        text += " --limit-iface-in" if self.limit_in else ""
        return text + (" --limit-iface-out" if self.limit_out else "")

    def listing(self) -> str:
        text = " ADDRTYPE match"
        for name, wanted in (("src-type", self.src), ("dst-type", self.dst)):
            if wanted is not None:
                text += f" {name} {'!' if wanted[1] else ''}{','.join(wanted[0])}"
        text += " limit-in" if self.limit_in else ""
        return text + (" limit-out" if self.limit_out else "")
