"""conmon, the monitor of a container's process, and how a container is launched under it."""
