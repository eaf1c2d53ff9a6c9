"""Errors that end the command with one sentence instead of a traceback."""

__all__ = ["Interrupted", "ToolError"]


class ToolError(Exception):
    """The user or the machine lacks something; the message is one clear sentence, exit status 2."""


class Interrupted(Exception):
    """Ctrl-C, told in one line with status 130; typer would end without a word."""
