"""A project as something else than containers: a graph, or what an image with a transformation makes of it."""
