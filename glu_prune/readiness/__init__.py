"""Whether a machine has all that a run needs, how to get what it lacks, and how to keep a run from the network."""
