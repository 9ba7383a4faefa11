"""Data types of weights, as torch names them, and the name of the one that is left open."""

EXACT = "float32"
"""The one that others are compared with."""
HALF = ("bfloat16", "float16")
AUTO = "auto"
"""None yet: the fastest is to be taken in which a model says what it says in the exact one."""
