"""The network layer: IPv4, routes and ICMP."""
