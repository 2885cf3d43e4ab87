"""Images: references, content store, layers, archives and snapshots."""
