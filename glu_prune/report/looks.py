"""Lines about how much of the tasks models were shown: items that were left out, prompts that were cut."""

from collections.abc import Iterator, Sequence

from glu_prune.report.rows import Row


def looks(cells: Sequence[Row]) -> Iterator[str]:
    """That only some items were asked, where so."""
    for limit in dict.fromkeys(row["limit"] for row in cells if row.get("limit")):
        yield f"A quick look: at most {limit} items of each task (--glu-limit)."


def truncations(cells: Sequence[Row]) -> Iterator[str]:
    """Where prompts were too long for a model and lost their beginning, which is the same in all its arms."""
    found: dict[str, dict[str, str]] = {}
    for row in cells:
        if row.get("truncated"):
            found.setdefault(row["model"], {})[row["task"]] = f"{row['task']} {row['truncated']} of {row['prompts']}"
    for model, tasks in found.items():
        yield f"Prompts that lost their beginning, as they are too long for {model}: {', '.join(tasks.values())}."
