"""`darse compose`: applications of several services, described in a file."""
