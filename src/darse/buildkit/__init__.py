"""The BuildKit server: gRPC for docker's build clients. Imported for the first connection.

    wire/         messages and services: BuildKit's names and numbers, generated from the .proto files beside them
    transport/    HTTP/2 connections that the API hands over: as a server, as a client, and one inside another
    sessions/     what clients let the engine ask of them: files, secrets, credentials, agents
    definitions   clients' graphs
    frontend/     dockerfile.v0
    solving/      builds: references, results, responses
    exporters/    where results go
    progress      events of builds, as clients follow them
    services/     Control, LLBBridge, health

A client opens one connection on which it asks (`/grpc`, or HTTP/2 on the socket itself), and one on which it answers
(`/session`): there the engine is the client of gRPC.
"""
