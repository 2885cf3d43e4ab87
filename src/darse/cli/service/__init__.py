"""darse as a service of the machine: units of systemd, docker's socket and names."""
