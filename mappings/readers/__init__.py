"""Ways to address a value in a source message: one module a syntax."""
