"""Ways to read a source message: how a value is addressed, and for a syntax that is no tree, the tree a table reads it as."""
