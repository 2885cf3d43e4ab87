"""Bindings to the kernel: system calls, netlink, nftables, file systems, processes. What changes the host is traced."""
