"""Netfilter: connection tracking, NAT, and tables of rules in iptables' syntax."""
