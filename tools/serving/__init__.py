"""Whether the model that an engine serves is the one that was judged.

    python -m tools.serving ENGINE FOLDER ... --dense MODEL --work DIR [--llama-cpp DIR] [--out FILE.csv]
    python -m tools.serving table

ENGINE is `transformers`, `llama.cpp` or `onnxruntime`; each FOLDER is what `glu-prune prune` wrote of the dense model.
The judged model is the dense one in memory, cut by the folder's plan, in float32. The served one is loaded by the
engine from a conversion of the folder. Both are given the token ids of the same prompts: their log-probabilities of
each next token are compared, and the tokens that they continue with. The dense model goes the same way, and says how
far an engine is from transformers without any pruning.
"""
