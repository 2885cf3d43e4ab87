"""Paired measurements of darse and dockerd; see docs/bench.md."""
