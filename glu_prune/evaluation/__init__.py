"""What a model can still do: capabilities, embedded tasks, and their evaluation."""
