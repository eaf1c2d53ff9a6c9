"""Header formats, each in one place: frozen types with symmetric `parse` and `pack`."""
