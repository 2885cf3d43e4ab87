"""Health checks: their rules, and the monitor that runs them."""
