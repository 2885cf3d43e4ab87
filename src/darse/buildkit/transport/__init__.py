"""gRPC on connections that somebody else has opened."""

from darse.buildkit.transport.calling import TransportChannel
from darse.buildkit.transport.serving import ServiceProtocol, Servicer, service_protocol

__all__ = ["ServiceProtocol", "Servicer", "TransportChannel", "service_protocol"]
