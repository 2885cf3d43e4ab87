"""Fakes for tests of what is built on darse: containers without processes, and time that passes at once.

blocking  what the event loop's thread does with files
clock     an event loop that does not wait: when nothing is left to do, the time of the next timer comes
host      processes, cgroups, the monitor and the OCI runtime of a host that exists in memory only
networks  the firewall, network namespaces and a network driver of such a host
registry  a registry, below the client's HTTP
room      the containers of an engine on such a host, without root
"""
