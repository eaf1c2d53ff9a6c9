"""Proofs about the RTL with Yosys and Bitwuzla."""

from wire2app.formal.command import FormalOptions, run_formal

__all__ = ["FormalOptions", "run_formal"]
