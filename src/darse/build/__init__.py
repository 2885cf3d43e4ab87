"""Builds: from a Dockerfile, or from any graph of low-level build operations, to images.

    graph/        what is to be done: LLB's vertices and edges as frozen structs, validated, with stable digests
    dockerfile/   the front end: parser, shell words, instructions, checks, and the conversion to a graph
    solver/       runs graphs: cache keys, merged edges, parallel execution, storage of what can be used again
    ignore.py     .dockerignore
    context_list.py  what a client says of the files of its context
    executor/     what the solver asks for, done on this engine: sources, RUN as transient containers, file operations
    files/        the actions of file operations on a disk
    context/      contexts that clients send, and digests of content
    cache/        the cache's records in the engine's database
    exporter/     images of results
    history/      the builds that were, and why their steps were executed
    service.py    builds as the API asks for them

The graph is BuildKit's, so that other front ends and other clients' graphs are run by the same solver.
`graph`, `ignore`, the parser and the solver's core import nothing of the engine.
"""
