"""Time, CPUs, scheduling, memory and packets: what every layer above stands on."""
