"""Networking: rtnetlink, network namespaces, nftables, traffic control, sockets."""
