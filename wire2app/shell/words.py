"""Words of command lines: pipes to programs of this machine, and what Tab offers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from pystack.tools.tool import ToolError

_ARGUMENTS = {
    "ss": "-tan -tlnp -tin -uan -xa -s state established listening time-wait sport dport src dst",
    "ip": "addr link neigh route -s -br -4 -6 show dev get add del replace",
    "tc": "qdisc -s show dev replace del root netem fq pfifo delay loss rate",
    "ethtool": "-S -i -k -g -l -x -c -K",
    "tcpdump": "-n -i -e -v -S -c stop tcp udp icmp arp port host",
    "netstat": "-tan -s -i -rn -tlnp -xan",
    "lsof": "-nP -i -p -U",
    "nstat": "-a -z -s",
    "ping": "-c -i -s -t -W",
    "conntrack": "-L -C -S",
}
_WITH_DEVICES = ("ip", "tc", "ethtool", "tcpdump")


def arguments_of(command: str, devices: Iterable[str]) -> list[str]:
    """What may follow a tool's name."""
    more = devices if command in _WITH_DEVICES else ()
    return [*_ARGUMENTS.get(command, "").split(), *more]


def split_pipe(line: str) -> tuple[str, str, str]:
    """A line at its first `|` that is not quoted, as `str.partition`."""
    quote = ""
    for at, letter in enumerate(line):
        if letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        elif letter == "|" and not quote:
            return line[:at], "|", line[at + 1 :]
    return line, "", ""


def piped_through(filters: str, text: str) -> str:
    """What this machine's shell makes of `text`: grep, wc, sort and the like."""
    done = subprocess.run(filters, shell=True, input=text, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        raise ToolError("", done.returncode, done.stdout)
    return done.stdout
