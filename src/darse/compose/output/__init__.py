"""The model as docker compose prints and hashes it."""
