"""Commands about images: lists, history, names, and the ways in and out of the engine."""
