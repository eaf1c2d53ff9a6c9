"""The `wire2app` command: arguments, building, launching, reporting."""
