"""Companions: processes of the engine that serve containers and outlive it, as the name server and the relay.

A companion holds sockets that the engine has made and passed to it (SCM_RIGHTS). The engine's side knows what is
*desired*, starts the process when the first thing is, and brings it back when it ends: a new connection begins with a
comparison of what the process holds and what is desired. An engine that starts takes over the process that it finds;
one that runs other code hands everything over to a successor (`hello`, `take over`, `retire`), socket by socket.
"""
