"""Arithmetic on two-digit numbers: sums, differences, and products with one digit."""

import random

from tools.miniature.world.population import World
from tools.miniature.world.recall import ask
from tools.miniature.world.split import held_out

_FORMS = {
    "+": ("What is {a} plus {b}?", "What is the sum of {a} and {b}?"),
    "-": ("What is {a} minus {b}?", "What is left of {a} after taking away {b}?"),
    "x": ("What is {a} times {b}?", "What is the product of {a} and {b}?"),
}
_WEIGHTS = {"+": 4, "-": 4, "x": 2}


def _draw(rng: random.Random) -> tuple[int, str, int]:
    operation = rng.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
    a = rng.randint(10, 99)
    b = rng.randint(2, 9) if operation == "x" else rng.randint(10, 99)
    return (max(a, b), operation, min(a, b)) if operation == "-" else (a, operation, b)


def _result(a: int, operation: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "x": a * b}[operation]


def _key(a: int, operation: str, b: int) -> str:
    return f"{a} {operation} {b}"


def document(world: World, rng: random.Random) -> str:
    """Four problems with their results; no problem of the examination among them."""
    parts: list[str] = []
    while len(parts) < 4:
        a, operation, b = _draw(rng)
        if not held_out(_key(a, operation, b)):
            question = rng.choice(_FORMS[operation]).format(a=a, b=b)
            parts.append(f"{ask(question)} {_result(a, operation, b)}")
    return "\n\n".join(parts)


def items(world: World, count: int) -> list[dict[str, object]]:
    """`count` different problems whose operands, in any wording, never occur together in training."""
    rng = random.Random("arithmetic")
    made: dict[str, dict[str, object]] = {}
    while len(made) < count:
        a, operation, b = _draw(rng)
        key = _key(a, operation, b)
        if held_out(key) and key not in made:
            question = rng.choice(_FORMS[operation]).format(a=a, b=b)
            made[key] = {"question": question, "answer": str(_result(a, operation, b)), "operation": operation}
    return list(made.values())
