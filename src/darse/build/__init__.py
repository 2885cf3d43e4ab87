"""Builds: from a Dockerfile, or from any graph of low-level build operations, to images.

    graph/        what is to be done: LLB's vertices and edges as frozen structs, validated, with stable digests
    dockerfile/   the front end: parser, shell words, instructions, checks, and the conversion to a graph
    solver/       runs graphs: cache keys, merged edges, parallel execution, storage of what can be used again
    ignore.py     .dockerignore

The graph is BuildKit's, so that other front ends and other clients' graphs are run by the same solver.
`graph`, `ignore`, the parser and the solver's core import nothing of the engine.
"""
