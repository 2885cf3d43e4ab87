"""The life of a container: create, start, stop, restart, update, remove."""
