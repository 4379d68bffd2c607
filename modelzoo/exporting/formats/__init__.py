"""One module for each format of the core, and the graph that they share."""
