"""A container's files: archives, commits, checkpoints, mounted images, and where the engine keeps its own."""
