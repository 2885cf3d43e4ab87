"""The relay: leads ports at IPv6 addresses of the host to containers that have IPv4 only.

| module | what it is |
|---|---|
| `streams` | connections of TCP, copied both ways |
| `datagrams` | flows of UDP |
| `server` | the process: what the engine asks for |

No translation of the kernel leads from one family to the other. So one process for each engine, started when the first
such port is published, takes what comes to the socket that the engine has made for a port, and connects to the
container; there it all comes from the host's address on the container's network, as with docker's `docker-proxy`.

Nothing here imports what is not in the standard library, nor much of that: the process takes memory.
"""
