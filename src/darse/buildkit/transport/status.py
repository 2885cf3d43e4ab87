"""Details of errors in `grpc-status-details-bin`: a status with messages of any type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase

from darse.buildkit.wire import status_pb2

_TYPES = "type.googleapis.com/"
# Of another type of gRPC's clients, headers are limited to 8 KiB and more. What is larger says less.
_MOST_BYTES = 48 * 1024


def status_message(code: Status, message: str | None, details: Sequence[Message]) -> status_pb2.Status:
    """A status with details. A message that is no message of protobuf goes as it is: `Any`."""
    found = status_pb2.Status(code=code.value, message=message or "")
    for detail in details:
        found.details.add(type_url=_TYPES + detail.DESCRIPTOR.full_name, value=detail.SerializeToString())
    return found


class DetailsCodec(StatusDetailsCodecBase):
    """Of grpclib's servers and channels."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        """As the header has it; without the details where they are too large for one."""
        encoded = status_message(status, message, details).SerializeToString()
        if len(encoded) > _MOST_BYTES:
            encoded = status_message(status, message, ()).SerializeToString()
        return bytes(encoded)

    def decode(self, status: Status, message: str | None, data: bytes) -> Any:
        """The details as they came, each an `Any`."""
        del status, message
        return list(status_pb2.Status.FromString(data).details)
