"""BUS=pins: every beat on the pins of `bench_top`, with protocol checks, stalls and errors."""
