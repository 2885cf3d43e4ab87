"""Volumes: drivers, mount points and copy-up."""
