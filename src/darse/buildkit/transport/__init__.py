"""gRPC on connections that somebody else has opened."""

from darse.buildkit.transport.calling import TransportChannel
from darse.buildkit.transport.serving import ServiceProtocol, Servicer, request_of, service_protocol

__all__ = ["ServiceProtocol", "Servicer", "TransportChannel", "request_of", "service_protocol"]
