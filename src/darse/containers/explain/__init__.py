"""Recorded operations of containers, for `darse explain`."""
