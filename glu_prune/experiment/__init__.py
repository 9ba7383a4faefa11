"""What is run: cells, their records, the store that keeps them, and the engine that computes what is missing."""
