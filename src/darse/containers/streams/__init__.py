"""Standard streams of containers and execs: attach, detach keys."""
