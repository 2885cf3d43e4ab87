"""Usage of containers: statistics and processes."""
