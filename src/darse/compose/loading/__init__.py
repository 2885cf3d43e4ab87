"""From files to one model: `loader` has the order, the other modules a step each."""
