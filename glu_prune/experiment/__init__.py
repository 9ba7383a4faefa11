"""What is run: cells, the records they leave, the store that keeps them, and the engine that computes what is missing."""
