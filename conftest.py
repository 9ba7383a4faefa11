"""Everything lives in the plugin; this file only keeps the tokenizer library from warning about forks."""

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
