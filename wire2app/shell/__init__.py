"""`wire2app shell`: the tools people know, on hosts that run in virtual time or behind the NIC."""
