"""seccomp profiles, and compiled filters that are used again."""
