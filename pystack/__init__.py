"""The simulated kernel: a network stack in plain synchronous Python on greenlets."""
