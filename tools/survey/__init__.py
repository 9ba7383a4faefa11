"""Which families of transformers can be pruned: tiny random models of each, cut and proven."""
