"""All that knows cocotb: the bench, its buses and wire, host memory behind them, faults."""
