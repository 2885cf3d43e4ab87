"""YAML as compose reads and writes it: `reader` (positions kept), `scalars` (what a plain word means), `writer`."""
