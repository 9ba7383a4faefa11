"""The embedded tasks: lm-eval YAML files, their items in `data/`, and how the items are written."""
