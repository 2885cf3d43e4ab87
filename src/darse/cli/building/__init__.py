"""What `darse build` is made of: the context that it sends, the options, and the progress that it shows."""
