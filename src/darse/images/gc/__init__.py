"""Garbage collection and deletion of images, the check of the store, and recovery after an unclean shutdown."""
