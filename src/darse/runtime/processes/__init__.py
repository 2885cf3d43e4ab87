"""Processes of a container as ps(1) shows them."""
