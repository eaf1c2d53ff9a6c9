"""sysctl: Linux's names with Linux's defaults; an unknown name is an error (`kernel/sysctl.c`).

The kernel looks values up as in a dict; `read` and `write` are /proc/sys: text, by a name with
dots or slashes.  `sysctl_defaults` has the names, `sysctl_bsd` those of another tradition.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Iterator

from pystack.core import sysctl_bsd
from pystack.core.sysctl_defaults import ANY_INT, BOUNDS, DEFAULTS, READ_ONLY, Value

_CONF = ("net.ipv4.conf.", "net.ipv6.conf.", "net.ipv4.neigh.", "net.ipv6.neigh.")
_PORTS = "net.ipv4.ip_local_port_range"


class Sysctl(dict[str, int]):
    """A host's settings.  An int is looked up at a dict's speed; what Linux has as a vector of
    ints is had from `vector`, a name from `text`."""

    def __init__(self) -> None:
        super().__init__({k: v for k, v in DEFAULTS.items() if isinstance(v, int)})
        self._vectors = {k: v for k, v in DEFAULTS.items() if isinstance(v, tuple)}
        self._texts = {k: v for k, v in DEFAULTS.items() if isinstance(v, str)}
        self._watchers: defaultdict[str, list[Callable[[str], None]]] = defaultdict(list)
        self._own: set[str] = set()  # of a device, and set since it came

    # -- devices ---------------------------------------------------------------------------

    def add_device(self, prefix: str, dev: str) -> None:
        """A new device gets its own copy of the settings under `prefix`.default, but of those of
        the whole table (gc_thresh3)."""
        for name in self._of(f"{prefix}.default."):
            if not name.startswith("gc_"):
                super().__setitem__(f"{prefix}.{dev}.{name}", self[f"{prefix}.default.{name}"])

    def own_settings(self, prefix: str, dev: str) -> None:
        """What `default` says is no news to this device any more (`ipv4_devconf_setall`)."""
        self._own.update(f"{prefix}.{dev}.{name}" for name in self._of(f"{prefix}.{dev}."))

    def devices(self, prefix: str) -> list[str]:
        """Those with settings under `prefix`."""
        names = {name.rpartition(".")[0] for name in self._of(f"{prefix}.")}
        return sorted(names - {"all", "default"})

    def _of(self, start: str) -> list[str]:
        return [name.removeprefix(start) for name in self.keys() if name.startswith(start)]

    # -- for the kernel --------------------------------------------------------------------

    def __missing__(self, name: str) -> int:
        if name in self._vectors:
            raise TypeError(f"sysctl {name} is a vector; use vector()")
        if name in self._texts:
            raise TypeError(f"sysctl {name} is a text; use text()")
        raise KeyError(f"unknown sysctl {name}")

    def vector(self, name: str) -> tuple[int, ...]:
        if name in self._vectors:
            return self._vectors[name]
        raise TypeError(f"sysctl {name} is a single value: {self[name]}")

    def text(self, name: str) -> str:
        if name in self._texts:
            return self._texts[name]
        raise TypeError(f"sysctl {name} is a number: {self[name]}")

    def watch(self, name: str, changed: Callable[[str], None]) -> None:
        """`changed(name)` hears of every setting of `name`, or of all that begin with it if it
        ends with a dot."""
        self._watchers[name].append(changed)

    def store(self, name: str, value: int) -> None:
        """Set without telling those who watch."""
        super().__setitem__(name, value)

    def __setitem__(self, name: str, value: Value) -> None:
        if name in self._texts:
            self._set_text(name, value)
        elif name in self._vectors and isinstance(value, tuple):
            if len(value) != len(self._vectors[name]):
                raise self._misfit(name, value)
            self._vectors[name] = value
        elif name in self and isinstance(value, int):
            super().__setitem__(name, value)
            self._spread(name, value)
        elif name in self._vectors or name in self:
            raise self._misfit(name, value)
        else:
            raise KeyError(f"unknown sysctl {name}")
        for start, watchers in self._watchers.items():
            if name == start or (start.endswith(".") and name.startswith(start)):
                for changed in watchers:
                    changed(name)

    def _spread(self, name: str, value: int) -> None:
        """What `default` says goes for devices that were not told otherwise."""
        for prefix in _CONF:
            if name.startswith(prefix):
                dev, _, last = name.removeprefix(prefix).rpartition(".")
                if dev != "default":
                    self._own.add(name)
                    return
                for other in self.devices(prefix[:-1]):
                    if f"{prefix}{other}.{last}" not in self._own:
                        super().__setitem__(f"{prefix}{other}.{last}", value)

    def _set_text(self, name: str, value: object) -> None:
        """Names of congestion controls: of those there are."""
        available = self._texts["net.ipv4.tcp_available_congestion_control"].split()
        if not isinstance(value, str) or not set(value.split()) <= set(available):
            raise ValueError(f"sysctl {name}: {value!r} is not among {' '.join(available)}")
        self._texts[name] = value

    def _misfit(self, name: str, value: object) -> ValueError:
        shape = self._vectors.get(name, self.get(name))
        return ValueError(f"sysctl {name}: {value!r} does not have the shape of {shape!r}")

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        yield from self._vectors
        yield from self._texts

    # -- /proc/sys -------------------------------------------------------------------------

    def read(self, name: str) -> str:
        """As `sysctl -n` prints it; OSError(ENOENT) for a name there is not."""
        key = dotted(name)
        if key in sysctl_bsd.ALIASES:
            return str(sysctl_bsd.ALIASES[key].get(self))
        if key in self._vectors:
            return "\t".join(map(str, self._vectors[key]))
        if key in self._texts:
            return self._texts[key]
        if key in self:
            return str(self[key])
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), name)

    def write(self, name: str, text: str) -> None:
        """As `sysctl -w`.  OSError: ENOENT, EACCES for what can only be read, EINVAL for no number
        or one beyond Linux's bounds, ENOENT for a congestion control there is not."""
        key = dotted(name)
        alias = sysctl_bsd.ALIASES.get(key)
        if alias is not None:
            if alias.set is None:
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), name)
            alias.set(self, _numbers(text, key)[0])
            return
        self.read(key)
        if key in READ_ONLY:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), name)
        if key in self._texts:
            self._write_text(key, text)
            return
        old = self._vectors.get(key)
        if old is None:
            (number,) = _numbers(text, key)
            if key == _UNPRIVILEGED and number > self._vectors[_PORTS][0]:
                raise _invalid(name)
            self[key] = number
            return
        numbers = _numbers(text, key, len(old))
        new = (*numbers, *old[len(numbers) :])
        if key == _PORTS and (new[1] < new[0] or new[0] < self[_UNPRIVILEGED]):
            raise _invalid(name)
        self[key] = new

    def _write_text(self, key: str, text: str) -> None:
        try:
            self[key] = text.strip()
        except ValueError:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), key) from None


_UNPRIVILEGED = "net.ipv4.ip_unprivileged_port_start"


def dotted(name: str) -> str:
    """net/ipv4/ip_forward, /proc/sys/net/ipv4/ip_forward: net.ipv4.ip_forward."""
    return name.removeprefix("/proc/sys/").replace("/", ".")


def _numbers(text: str, key: str, count: int = 1) -> tuple[int, ...]:
    """At most `count` of them, decimal, octal or hexadecimal, as C writes them
    (`proc_get_long`); what follows is ignored."""
    low, high = BOUNDS.get(key, ANY_INT)
    numbers = []
    for word in text.split()[:count]:
        try:
            octal = word.lstrip("-").isdigit() and word.lstrip("-").startswith("0")
            number = int(word, 8 if octal else 0)
        except ValueError:
            raise _invalid(key) from None
        if not low <= number <= high:
            raise _invalid(key)
        numbers.append(number)
    if not numbers:
        raise _invalid(key)
    return tuple(numbers)


def _invalid(name: str) -> OSError:
    return OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
