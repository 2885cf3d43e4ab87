"""Unpacked layers by chain ID: the store, their diffs, remapped copies, durability and sizes."""
