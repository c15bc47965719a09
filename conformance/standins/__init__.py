"""Stand-in systems: real HTTP servers that can be told to misbehave."""
