"""A container's place on networks: endpoints, links, hosts and resolv.conf."""
