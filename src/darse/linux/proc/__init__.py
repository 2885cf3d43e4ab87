"""Processes: spawning, pidfds, user namespaces, credentials, sandboxed workers."""
