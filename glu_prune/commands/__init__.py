"""The commands of `glu-prune`, one function each: its parameters are the arguments, its docstring is the help.

A command returns an `Answer`. Libraries that take long to import are imported where they are used, so that help comes,
and a mistyped argument is told, at once.
"""
