"""What the engine does about a firewall that the host has of its own."""
