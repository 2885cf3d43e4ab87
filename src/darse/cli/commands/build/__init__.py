"""`build` and `builder`."""
