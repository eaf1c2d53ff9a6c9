"""`ip`: devices, addresses, routes and neighbours (`ip/*.c` of iproute2 6.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystack.tools import ip_addr, ip_neigh, ip_route
from pystack.tools.ip_words import IpOptions
from pystack.tools.tool import Net, ToolError

_OBJECTS: dict[str, Callable[[Net, IpOptions, list[str]], str]] = {
    "link": ip_addr.link,
    "address": ip_addr.address,
    "route": ip_route.route,
    "neighbour": ip_neigh.neighbour,
    "neighbor": ip_neigh.neighbour,
    "maddress": ip_addr.maddress,
}


def ip(net: Net, args: Sequence[str]) -> str:
    """`ip [-s] [-br] [-4|-6] OBJECT COMMAND`; objects and commands may be cut short."""
    known = {"-br": "b", "-brief": "b", "-s": "s", "-stats": "s", "-statistics": "s"}
    known |= {"-4": "4", "-6": "6", "-n": "n", "-d": "d", "-details": "d", "-o": "o"}
    words, letters = list(args), ""
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word not in known:
            raise ToolError(f'Option "{word}" is unknown, try "ip -help".', 255)
        letters += known[word]
    options = IpOptions(
        statistics=letters.count("s"),
        brief="b" in letters,
        family=6 if "6" in letters else 4 if "4" in letters else 0,
    )
    if not words:
        raise ToolError(
            "Usage: ip [ -s ] [ -br ] [ -4 | -6 ] { link | address | route | neigh }", 255
        )
    for name, run in _OBJECTS.items():
        if name.startswith(words[0]):
            try:
                return run(net, options, words[1:])
            except OSError as exc:
                raise ToolError(f"RTNETLINK answers: {exc.strerror}", 2) from None
    raise ToolError(f'Object "{words[0]}" is unknown, try "ip help".', 1)
