"""Text from elsewhere (names, task text, model output) as what people and CI may safely be shown.

Nothing is dropped: what would act instead of being read is written as Python writes it in a string.
"""

import re
import unicodedata

_ACTS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of characters that do something: controls, direction overrides, lone surrogates, line ends."""
_JOINERS = "\u200c\u200d"
"""Format characters that scripts and emoji need."""
_COMMAND = re.compile(r"^(\s*):(?=:)|##(?=\[)")
"""How lines begin that GitHub's runner obeys, `::set-output ...`, or what they hold, `##[set-output]`."""
_MARKUP = re.compile(
    r"[\\`|<\[\]&*~$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\."
    r"|^\s*(?:[#>=]|\+(?=\s|$)|-(?=[\s-])|\d+[.)](?=\s|$))",
    re.IGNORECASE,
)
"""What Markdown makes code, cells, HTML, links, images, entities, emphasis and formulas of, and, where text begins,
headings, quotes, lists and rules; bare addresses become links, too. Underscores within words are left alone."""
_ASCII = str.maketrans("✓✗≈↑↓•≤≥±─", "+x#^v*<>~-")
"""One sign for one, so that columns stay below each other, where an encoding cannot do more."""
_MENTION = re.compile(r"(?<!\w)@(?=\w)")
"""Has GitHub tell someone, even where it is escaped; an empty comment after it keeps it from that, and is not seen."""


def one_line(text: str) -> str:
    r"""`text` in one line that only shows: `\n`, `\x1b` and `\u202e` are written out, and CI finds no command in it."""
    shown = "".join(_written(each) if _acts(each) else each for each in text)
    return _COMMAND.sub(lambda found: f"{found[1]}\\x3a" if found[1] is not None else "#\\x23", shown)


def encodable(text: str, encoding: str) -> str:
    """`text` as a terminal of that encoding can show it: our signs by others, what it still lacks written out."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_ASCII).encode("ascii", "backslashreplace").decode()
    return text


def markdown(text: str) -> str:
    """`text` as one line of Markdown, or one cell of its tables, that reads as it was written."""
    escaped = _MARKUP.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", one_line(text))
    return _MENTION.sub("@<!-- -->", escaped)


def _acts(character: str) -> bool:
    return unicodedata.category(character) in _ACTS and character not in _JOINERS


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
