"""What the engine, the supervisor and the worker ask each other for, in packets of `darse.linux.packets`.

The supervisor gives on to the worker what the engine sends, as it is. A document has `do`, what is asked for:

    hello            → version, pid, worker: of this supervisor
    list             after: id                → ids that are registered, and whether there are more
    set              view: see `zone`; descriptors: see `listeners.Listener` (none: those that are held stay)
    drop             id
    servers          servers: the host's (supervisor to worker)
    explain          id, name, type           → how a name is looked up
    statistics
    take over        → one packet per sandbox with its view and descriptors; at last `done`, with the control socket
    retire           what was taken over is served by another now
    end              nothing is to be served any more
"""

#: The error of a `set` without descriptors of a sandbox that has none here: its process has ended.
NO_SOCKETS = "no sockets"
