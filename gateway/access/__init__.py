"""The one door: what may be told to whom, and how much of it."""
