"""Networks: drivers, address management, sandboxes and published ports."""

from darse.networks.service import NetworkService

__all__ = ["NetworkService"]
