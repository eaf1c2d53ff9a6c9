"""Synthesis of the NIC with Yosys and nextpnr: cells by module, clock, budget."""

from wire2app.synth.command import SynthOptions, run_synth

__all__ = ["SynthOptions", "run_synth"]
