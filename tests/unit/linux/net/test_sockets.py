"""What the kernel knows of the other end of a socket."""

from __future__ import annotations

import os
import socket

from darse.linux.net.sockets import peer_credentials


def test_who_has_connected_to_a_unix_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_credentials(ours) == (os.getpid(), os.getuid(), os.getgid())
    with socket.socket() as other:
        assert peer_credentials(other) is None
