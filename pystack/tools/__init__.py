"""Readers of what the kernel reports: captures and the like."""
