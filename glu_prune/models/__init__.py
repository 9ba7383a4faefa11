"""What is cut from: the embedded models, how they were trained, and how to load any other model."""
