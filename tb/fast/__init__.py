"""BUS=fast: the models run in C beside the RTL, Python only when something happened."""
