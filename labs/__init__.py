"""Experiments one can run, each also a test."""
