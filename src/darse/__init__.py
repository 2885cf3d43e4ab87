"""darse: a container platform that speaks the Docker Engine API."""

__version__ = "0.1.0"
