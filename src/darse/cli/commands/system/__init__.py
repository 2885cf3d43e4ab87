"""Commands about the engine as a whole: its state, its events, its repair, and the objects of any kind."""
