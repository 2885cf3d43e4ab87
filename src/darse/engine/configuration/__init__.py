"""dockerd's flags and `daemon.json`: one table of options, their values, and the manual pages made from them."""
