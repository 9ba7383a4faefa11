"""Tokenizers of llama2.c (`tok*.bin`) as transformers tokenizers.

Source: https://github.com/karpathy/llama2.c, `tokenizer.py` (`export`) and `run.c` (`encode`).
"""

import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_LENGTH = struct.Struct("<i")
_ENTRY = struct.Struct("<fi")
_UNK, _BOS, _EOS = _SPECIAL = ("<unk>", "<s>", "</s>")
FIXED = (*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)))
"""What every vocabulary begins with."""


def read_tokenizer(folder: Path, vocab_size: int) -> "PreTrainedTokenizerFast":
    """The tokenizer in `folder`, which gives the ids that llama2.c gives: <s>, a space, then the best merges first.

    Text is only ever text: a `<s>` written in it is three characters, as in llama2.c.

    Raises:
        CheckpointError: the file is not whole, not of this format, or not of `vocab_size` pieces.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    path = tokenizer_file(folder)
    pieces = _read_pieces(path, vocab_size)
    ids = {name: token for token, name in enumerate([*FIXED, *pieces])}
    bpe = models.BPE(ids, _merges(path, pieces), unk_token=_UNK, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_BOS} $A", pair=f"{_BOS} $A $B", special_tokens=[(_BOS, ids[_BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=_UNK,
        bos_token=_BOS,
        eos_token=_EOS,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )


def tokenizer_file(folder: Path) -> Path:
    """The only tokenizer in `folder`.

    Raises:
        CheckpointError: there is none, or several.
    """
    found = sorted(folder.glob("tok*.bin"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        msg = (
            f"{folder} holds {len(found)} tokenizers tok*.bin ({names}), but must hold one: put that of the model there"
        )
        raise CheckpointError(msg)
    return found[0]


def _read_pieces(path: Path, vocab_size: int) -> dict[str, float]:
    """The pieces after the special and the byte ones, with their scores, in the order of their ids.

    Raises:
        CheckpointError: the file cannot be read or is not of this format.
    """
    entries = _read_entries(path, vocab_size)
    fixed = [name.strip() for name, _ in entries[: len(FIXED)]]  # llama2.c writes <s> and </s> between line breaks
    for token, expected in enumerate(FIXED):
        if fixed[token : token + 1] != [expected]:
            found = repr(fixed[token]) if token < len(fixed) else "nothing"
            msg = f"{path} has {found} as piece {token}, but must have {expected!r}; export it as llama2.c does"
            raise CheckpointError(msg)
    pieces: dict[str, float] = {}
    for token, (name, score) in enumerate(entries[len(FIXED) :], len(FIXED)):
        if name in pieces or name in FIXED or not math.isfinite(score):
            msg = (
                f"{path} has piece {token} {name!r} twice or with no finite score ({score}); export it as llama2.c does"
            )
            raise CheckpointError(msg)
        pieces[name] = score
    return pieces


def _read_entries(path: Path, vocab_size: int) -> list[tuple[str, float]]:
    """All pieces and scores, `vocab_size` of them."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    entries: list[tuple[str, float]] = []
    try:
        (longest,) = _LENGTH.unpack_from(data)
        at = _LENGTH.size
        for _ in range(vocab_size):
            score, length = _ENTRY.unpack_from(data, at)
            if not 0 < length <= longest:
                msg = f"{path} has {length} bytes in piece {len(entries)}, but must have 1 to {longest}; fetch it again"
                raise CheckpointError(msg)
            at += _ENTRY.size + length
            (name,) = struct.unpack_from(f"{length}s", data, at - length)
            entries.append((name.decode(), score))
    except struct.error as error:
        msg = (
            f"{path} ends after {len(entries)} pieces, but the model's vocabulary is {vocab_size}; fetch it again, or "
            "put the tokenizer of this model there"
        )
        raise CheckpointError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path} has a piece {len(entries)} {error.object!r}, which is not UTF-8; fetch it again"
        raise CheckpointError(msg) from error
    if at != len(data):
        msg = (
            f"{path} has {len(data) - at:,} bytes after its first {vocab_size} pieces, but the model's vocabulary is "
            f"{vocab_size}; put the tokenizer of this model there"
        )
        raise CheckpointError(msg)
    return entries


def _merges(path: Path, pieces: dict[str, float]) -> list[tuple[str, str]]:
    """The merges of a BPE that does what llama2.c does, best first: for each piece, all pairs that spell it.

    llama2.c joins, of all neighbours that spell a piece, those with the best score, the leftmost of equals. The order
    of the pairs of one piece does not matter: inside a stretch of text, merges do not depend on what is outside as long
    as none crosses its border, so a piece always comes about from the same last pair, the others never stand side by
    side.

    Raises:
        CheckpointError: two pieces have the same score, so that their order would depend on the text.
    """
    merges: list[tuple[str, str]] = []
    by_score: dict[float, str] = {}
    for piece in sorted(pieces, key=pieces.__getitem__, reverse=True):
        halves = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        pairs = [(left, right) for left, right in halves if left in pieces and right in pieces]
        if pairs and (other := by_score.setdefault(pieces[piece], piece)) != piece:
            msg = (
                f"{path} gives {other!r} and {piece!r} the same score {pieces[piece]}, but each needs one of its own; "
                "use a vocabulary trained as BPE, as llama2.c's are"
            )
            raise CheckpointError(msg)
        merges += pairs
    return merges


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """What is raised for a file that the system does not let us read."""
    return CheckpointError(f"{path} cannot be read: {error.strerror}; make it readable, or fetch it again")
