"""Networks: drivers, address management, sandboxes and published ports."""
