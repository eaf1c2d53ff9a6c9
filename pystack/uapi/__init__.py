"""The system-call layer: files, processes, sockets and waiting, as an application sees them."""
