"""Python code as what it does: comments, docstrings, line breaks and places do not count."""

import ast
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """What a module says."""

    fingerprint: str
    """SHA-256 over its syntax tree.

    It is the same for all versions of Python that parse the code into the same nodes: `ast.dump` would tell them apart
    by fields that are empty, and byte code by everything.
    """
    imports: frozenset[str]
    """What it imports, in functions too: `a.b` of `import a.b`; `a` and `a.b`, a module or not, of `from a import b`.

    What only type checkers import is not among them.
    """


def read(source: str | bytes) -> Code:
    """The code of a module.

    Raises:
        SyntaxError: it is no Python.
    """
    words: list[str] = []
    imported: set[str] = set()
    _spell(ast.parse(source), words, imported)
    return Code(hashlib.sha256(" ".join(words).encode()).hexdigest(), frozenset(imported))


def _spell(node: ast.AST, words: list[str], imported: set[str]) -> None:
    """Appends a node's type and its fields that are not empty, each by its name; collects what is imported."""
    if isinstance(node, ast.Import):
        imported.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        imported.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    words.append(f"({type(node).__name__}")
    for name in node._fields:
        value = getattr(node, name, None)
        for each in value if isinstance(value, list) else (value,):
            if _is_text(each) or _is_for_type_checkers(each):
                continue
            if isinstance(each, ast.AST):
                words.append(name)
                _spell(each, words, imported)
            elif each is not None:
                words.append(f"{name}={each!r}")
    words.append(")")


def _is_text(node: object) -> bool:
    """Whether it is a text that stands alone: it documents what is around or above it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_for_type_checkers(node: object) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
