"""The engine's side of the relay (`darse.relay`): its process, sockets on ports of the host, what is to be served."""
