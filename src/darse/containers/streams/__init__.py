"""Standard streams of containers and execs.

console   the hub of one process's streams, and the frames of a multiplexed stream (`frame`)
hubs      the hubs of containers
options   what an attach asks for: streams, past log, detach keys
"""
