"""Serves the Docker Engine API: thin routes over the services."""
