"""Standard streams of containers and execs.

console   the hub of one process's streams, and the attachments that share them
hubs      the hubs of containers
options   what an attach asks for: streams, past log, detach keys
output    what a process prints: batches of pieces, each with its stream
"""
