"""What must hold for every pruning of every model, as properties that run on anyone's model."""
