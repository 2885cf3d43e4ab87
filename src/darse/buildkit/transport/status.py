"""Details of errors in `grpc-status-details-bin`: a status with messages of any type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase

from darse.buildkit.wire import status_pb2


class Detail(NamedTuple):
    """A message of any type, encoded."""

    type_url: str
    value: bytes


# Of another type of gRPC's clients, headers are limited to 8 KiB and more. What is larger says less.
_MOST_BYTES = 48 * 1024


def status_message(code: Status, message: str | None, details: Sequence[Detail]) -> status_pb2.Status:
    """A status with details."""
    found = status_pb2.Status(code=code.value, message=message or "")
    for detail in details:
        found.details.add(type_url=detail.type_url, value=detail.value)
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
        """The details as they came."""
        del status, message
        return [Detail(one.type_url, one.value) for one in status_pb2.Status.FromString(data).details]
