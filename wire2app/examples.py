"""What `wire2app COMMAND --help` shows beside the options: examples, and where a command belongs.

`tests/test_cli.py` reads every example as the command would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PANELS: Mapping[str, Sequence[str]] = {
    "Run": ("sim", "live", "run", "shell", "lab", "waves"),
    "Prove": ("test", "packetdrill", "netsim", "fuzz", "coverage", "mutate", "formal", "regress"),
    "Measure": ("bench", "synth"),
    "Develop": ("lint", "regs"),
}
EXAMPLES: Mapping[str, Sequence[tuple[str, str]]] = {
    "sim": (
        ("sim", "HTTP over the RTL NIC, and the way of a packet in ns"),
        ("sim --sim icarus --seed 7", "on the other simulator, another seed"),
        ("sim --json", "what the report says, for a program"),
        ("sim --waves", "with every signal recorded, for `wire2app waves`"),
    ),
    "live": (
        ("live", "until Ctrl-C, with what can be tried meanwhile"),
        ('live --run "curl http://10.77.0.2/"', "one command, whose status it ends with"),
    ),
    "run": (
        ("run server.py 8000 -- client.py", "two programs of your own on two hosts"),
        ("run --rtl server.py 8000 -- client.py", "the first behind the RTL NIC"),
        ("run --strace -e trace=network server.py", "with its system calls"),
        ("run --pcap wire.pcapng server.py -- client.py", "with every frame in a capture"),
    ),
    "shell": (
        ("shell", "a prompt on a server with clients; `help` tells what there is"),
        ('shell -c "ss -tanp" -c "go 5s" -c "nstat"', "commands without a prompt"),
        ("shell --live", "the tools of the host that `wire2app live` runs"),
    ),
    "lab": (
        ("lab", "which labs there are"),
        ("lab syn-flood", "run one over the RTL NIC"),
        ("lab syn-flood --no-rtl --param clients=9", "in virtual time, with other numbers"),
    ),
    "waves": (("waves", "the last run's signals"),),
    "test": (
        ("test stack", "the kernel without a simulator"),
        ("test system --sim icarus -k transfer", "some, on one simulator"),
    ),
    "packetdrill": (
        ("packetdrill", "our scripts"),
        ("packetdrill tests/packetdrill --rtl --json results.json", "over the RTL NIC"),
    ),
    "netsim": (
        ("netsim --seeds 10000", "ten thousand runs"),
        ("netsim --first 4711 --seeds 1", "one of them again"),
    ),
    "fuzz": (("fuzz --seeds 60 --json fuzz.json", "5,000 frames a seed"),),
    "coverage": (("coverage --reuse", "show what the last run reached"),),
    "mutate": (("mutate --count 20 --module mac_rx", "twenty changes to one module"),),
    "bench": (
        ("bench --quick", "all figures, roughly"),
        ("bench stack --json", "one section, for a program"),
    ),
    "formal": (
        ("formal", "every proof, some minutes"),
        ("formal --quick", "those that take seconds"),
        ("formal queue_ring", "of one module"),
    ),
    "regress": (("regress", "all lengths at line rate, all proofs, placement"),),
    "synth": (("synth --quick", "cells by module on ECP5"),),
    "lint": (("lint", "as continuous integration does"),),
    "regs": (("regs --check", "is what is generated up to date?"),),
}


def panel(command: str) -> str:
    """The heading under which `wire2app --help` lists it."""
    return next(name for name, commands in PANELS.items() if command in commands)


def epilog(command: str, rich: bool) -> str:
    """The examples as typer shows them: `rich` makes a paragraph of each line by itself."""
    lines = EXAMPLES.get(command, ())
    width = max((len(line) for line, _ in lines), default=0)
    if rich:
        shown = [
            f"{_escaped(f'wire2app {line}')}  [dim]{_escaped(what)}[/dim]" for line, what in lines
        ]
        return "\n\n".join(["[bold]Examples:[/bold]", *shown])
    shown = [f"  wire2app {line:<{width}}  {what}" for line, what in lines]
    return "\n".join(["\b", "Examples:", *shown])


def _escaped(line: str) -> str:
    return line.replace("[", "\\[")
