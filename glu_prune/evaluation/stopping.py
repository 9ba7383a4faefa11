"""What ends a generated text, and what would make it another than the greedy one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_IRRELEVANT_SETTINGS = frozenset(
    "max_length min_p top_h top_k top_p temperature typical_p epsilon_cutoff eta_cutoff do_sample use_cache"
    " cache_implementation bos_token_id eos_token_id pad_token_id transformers_version _from_model_config".split()
)
"""Settings that lm-eval overrides, that matter to sampling only, or that do not change the text."""
_GREEDY_DEFAULTS: Mapping[str, Any] = {"num_beams": 1, "repetition_penalty": 1.0, "num_return_sequences": 1}


def greedy_obstacle(config: Any) -> str | None:
    """Why this generation configuration asks for something else than greedy decoding; None if it does not."""
    changed = [
        name
        for name, value in config.to_diff_dict().items()
        if value and name not in _IRRELEVANT_SETTINGS and _GREEDY_DEFAULTS.get(name) != value
    ]
    return f"the generation configuration sets {', '.join(sorted(changed))}" if changed else None


@dataclass(frozen=True)
class StopCriteria:
    """What ends a generated text: strings that may span tokens, and end-of-sequence tokens."""

    tokenizer: Any
    stops: tuple[tuple[str, int], ...]
    """Strings, each with the number of last tokens in which it is searched."""
    last_tokens: frozenset[int]
    """Tokens that may hold the last character of a string; without one of them, no string can have been completed."""
    eos: frozenset[int]
    """Token ids that end the text by themselves."""

    def reached(self, generated: Sequence[int]) -> bool:
        """Whether the last of the tokens `generated` ends the text, if none before it did."""
        # Decoding at every token would take longer than a small model's forward pass, hence the cheap test first.
        return generated[-1] in self.eos or any(
            not self.last_tokens.isdisjoint(generated[-look:]) and string in self.tokenizer.decode(generated[-look:])
            for string, look in self.stops
        )


@lru_cache(maxsize=16)
def stop_criteria(tokenizer: Any, stops: tuple[str, ...], eos: frozenset[int]) -> StopCriteria:
    """The criteria by which lm-eval's `MultiTokenEOSCriteria` and the tokens `eos` end a text."""
    # lm-eval searches the decoded last tokens, as many as the string has of its own and two more.
    looks = tuple((string, len(tokenizer.encode(string, add_special_tokens=False)) + 2) for string in stops)
    ids = sorted(tokenizer.get_vocab().values())
    ends = {string[-1:] for string in stops} | {"\N{REPLACEMENT CHARACTER}"}
    # Where decoding rewrites spaces, or a string is empty, any token may complete a string.
    if "" in ends or tokenizer.clean_up_tokenization_spaces:
        return StopCriteria(tokenizer, looks, frozenset(ids), eos)
    # Each token twice, because SentencePiece decoders drop the space with which a text begins. A token that is not
    # whole UTF-8 decodes to a replacement character and may hold any character, hence that one among `ends`.
    texts = tokenizer.batch_decode([[token, token] for token in ids])
    last_tokens = frozenset(token for token, text in zip(ids, texts, strict=True) if any(end in text for end in ends))
    return StopCriteria(tokenizer, looks, last_tokens, eos)
