"""What code says, whatever is said about it."""

import pytest

from glu_prune.syntax import read

PLAIN = """
from typing import TYPE_CHECKING
import os
from glu_prune.pruning import surgery
if TYPE_CHECKING:
    import torch
X = 1
def f(a, *, b=2):
    from glu_prune.units import Joules
    return a + b
class C:
    y: int = 3
"""
SAID = '''"""About the module."""

from typing import TYPE_CHECKING  # for types
import os
from glu_prune.pruning import surgery

if TYPE_CHECKING:
    import torch
X = 1
"""About X."""


def f(
    a,
    *,
    b=2,
):
    """About f."""
    from glu_prune.units import Joules

    return (a + b)  # a sum


class C:
    """About C."""

    y: int = 3
    """About y."""
'''


def test_what_is_said_about_code_does_not_count():
    assert read(SAID) == read(PLAIN)
    assert read(SAID.encode()) == read(PLAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X = 1", "X = 2"), ("X = 1", "X = 1.0"), ("X = 1", "X = '1'"), ("X = 1", "X = True"), ("X", "Z"), ("a + b", "b + a"),
        ("a + b", "a - b"), ("*, b=2", "b=2"), ("b=2", "c=2"), ("y: int = 3", "y: float = 3"), ("class C", "class D"),
        ("import os", "import sys"), ("Joules", "Joules as J"), ("return a + b", "return 'a + b'"),
    ],
)  # fmt: skip
def test_what_code_says_does(old, new):
    assert old in PLAIN
    assert read(PLAIN.replace(old, new)).fingerprint != read(PLAIN).fingerprint


def test_imports_are_found_wherever_they_are_executed():
    assert read(PLAIN).imports == {
        "typing", "typing.TYPE_CHECKING", "os", "glu_prune.pruning", "glu_prune.pruning.surgery",
        "glu_prune.units", "glu_prune.units.Joules",
    }  # fmt: skip
