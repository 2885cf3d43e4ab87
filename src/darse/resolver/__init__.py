"""The name server of containers: a process of its own, which outlives the engine.

| module | what it is |
|---|---|
| `message` | DNS messages: queries parsed, answers packed. Pure |
| `zone` | what is registered: networks, the names on them, and each sandbox's view of them. Pure |
| `answers` | the decision about a query: an answer, or to ask an upstream server. Pure |
| `upstreams` | queries that are forwarded |
| `listeners` | the sockets of a sandbox |
| `host_servers` | the host's resolv.conf, followed |
| `protocol` | what the engine, the supervisor and the worker ask each other for |
| `worker` | the process that answers |
| `supervisor` | its parent: holds all descriptors, and starts the worker again when it ends |

Nothing here imports what is not in the standard library, nor much of that: the process takes memory on every host.
"""
