"""Errors that end the command with one sentence instead of a traceback."""

__all__ = ["ToolError"]


class ToolError(Exception):
    """The user or the machine lacks something; the message is one clear sentence, exit status 2."""
