"""gRPC on connections that somebody else has opened."""

from darse.buildkit.transport.calling import TransportChannel, answer_run
from darse.buildkit.transport.serving import ServiceProtocol, Servicer, request_of, service_protocol
from darse.buildkit.transport.stream_buffer import MessageRun

__all__ = [
    "MessageRun",
    "ServiceProtocol",
    "Servicer",
    "TransportChannel",
    "answer_run",
    "request_of",
    "service_protocol",
]
