"""Execs: further processes in a running container."""
