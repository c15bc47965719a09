"""What leaves unasked: the worker and its channels."""
