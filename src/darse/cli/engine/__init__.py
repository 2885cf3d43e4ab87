"""Talking to the engine: connections, requests, starting it on demand, resuming after it restarts."""
