"""Writable layers of containers over the layers of an image, and images mounted into containers."""
