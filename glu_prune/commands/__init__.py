"""What the commands of `glu-prune` do, from parsed arguments to the text that is shown.

A command returns its text, or that and whether all is well. Libraries that take long to import are imported where they
are used, so that a mistyped argument is told at once.
"""
