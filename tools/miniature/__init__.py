"""How the embedded models and the items of their tasks are made, from a synthetic world on."""
