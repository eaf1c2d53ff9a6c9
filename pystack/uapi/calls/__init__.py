"""The system calls by family; `pystack.uapi.syscalls` puts them together."""
