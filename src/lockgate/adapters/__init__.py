"""The doors. Each has the same five rooms and imports no other door."""
