"""The engine's side of the name server (`darse.resolver`): its process, its sockets, what is registered."""
