"""The speed of the main job, measured on real processes: `python -m bench`, or `make bench`. Not part of the wheel.

docs/performance.md says what each row means, and what to make of it.
"""
