"""The wire2app NIC without RTL: the same registers and rings, a transaction at a time."""
