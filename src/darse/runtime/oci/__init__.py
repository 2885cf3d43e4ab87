"""The OCI runtime spec of a container, and the runtime program that carries it out."""
