"""What is drawn of the engine's objects, as SVG: for the command and the dashboard. Every text in it is escaped."""
