"""Proofs about the RTL with Yosys and Z3."""

from wire2app.formal.command import FormalOptions, run_formal

__all__ = ["FormalOptions", "run_formal"]
