"""Interrupts by name, and how often each CPU has taken them (`/proc/interrupts`).

An `Irq` is what a CPU is given to run (`Cpu.raise_irq`): it counts, and calls the handler.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystack.core.kernel import Kernel

FIRST = 24  # the numbers before it are the platform's
PCI_MSI = "PCI-MSI"


class Irq:
    """`label` is its number, or the three letters of one of the CPU's own."""

    __slots__ = ("_handler", "_kernel", "chip", "counts", "label", "name")

    def __init__(
        self, kernel: Kernel, label: str, name: str, handler: Callable[[], None], chip: str
    ) -> None:
        self._kernel = kernel
        self._handler = handler
        self.label = label
        self.name = name
        self.chip = chip
        self.counts = [0] * len(kernel.cpus)

    def __call__(self) -> None:
        """Hardirq."""
        self.counts[self._kernel.cpu.index] += 1
        self._handler()


class Irqs:
    """Those of one machine, in the order of their labels."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._devices: dict[int, Irq] = {}
        self._own: dict[str, list[Irq]] = {}

    def request(self, name: str, handler: Callable[[], None]) -> Irq:
        """A device's interrupt, of the lowest free number (`request_irq`)."""
        number = next(n for n in count(FIRST) if n not in self._devices)
        irq = self._devices[number] = Irq(self._kernel, str(number), name, handler, PCI_MSI)
        return irq

    def free(self, irq: Irq) -> None:
        del self._devices[int(irq.label)]

    def own(self, label: str, name: str, handler: Callable[[], None]) -> Irq:
        """One that belongs to the CPUs, as LOC; several handlers count as one line."""
        irq = Irq(self._kernel, label, name, handler, "")
        self._own.setdefault(label, []).append(irq)
        return irq

    def lines(self) -> list[tuple[str, list[int], str, str]]:
        """(label, counts by CPU, chip, name) of each line."""
        found = [(i.label, i.counts, i.chip, i.name) for _, i in sorted(self._devices.items())]
        for label, same in self._own.items():
            counts = [sum(column) for column in zip(*(irq.counts for irq in same), strict=True)]
            found.append((label, counts, "", same[0].name))
        return found
