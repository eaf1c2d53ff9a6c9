"""What the command runs in the simulator: cocotb modules that are told what to do by a file."""
