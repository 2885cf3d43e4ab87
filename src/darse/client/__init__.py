"""A client of the engine's API, for whoever stands on it: the command, compose, dashboards, a cluster, tests.

    endpoint, connection   where an engine is, and the ways there: unix sockets, tcp with or without TLS, ssh
    http                   HTTP/1.1 apart from sockets
    blocking, asynchronous the two clients
    requests/              the API's operations as typed requests, one module for each resource, for both clients
    documents/             the types of the JSON documents that the blocking client answers and takes
    messages               answers as structs where `darse.wire` has none

It imports nothing of an engine but the API's types, and these only where answers are to be typed.
"""
