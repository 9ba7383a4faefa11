"""How fast this project is, against the usual tools: run from a checkout with `make bench-pruning` and its like."""
