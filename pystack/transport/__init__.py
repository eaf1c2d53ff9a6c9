"""The transport layer: sockets that never block, and TCP."""
