"""RTL and model on the same traffic: frames, completions, memory and counters must agree."""
