"""The only place with system calls, netlink and nftables; all of it is traced here."""
