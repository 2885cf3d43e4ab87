"""A page about a shop."""
