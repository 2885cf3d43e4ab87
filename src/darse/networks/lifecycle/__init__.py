"""The life of networks: records and what the host has of them."""
