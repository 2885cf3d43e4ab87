"""Compose files: read, merged and normalised as docker compose does (the Compose Specification).

A library on the typed client, free of the engine's details: `darse compose`, and later the dashboard and the labs, use
it. The order of loading decides results; it is written down in `loading/loader.py`.
"""
