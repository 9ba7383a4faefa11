"""How far long work is, and where that is shown; knows nothing of pytest and of models."""
