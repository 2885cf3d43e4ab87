"""The command line: which commands there are, their flags, help, completion and manual pages."""
