"""Tables and SQL: a module owns its table and every query on it."""
