"""The link layer: Ethernet framing and address resolution."""
