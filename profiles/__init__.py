"""Rules on resources as data, and the engine that applies them."""
