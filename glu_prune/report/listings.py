"""What there is to choose from."""

from glu_prune.report.table import Column, render, terminal_width, wrapped


def criteria() -> str:
    """A table of every criterion, with what it looks at, its formula and its source."""
    from glu_prune.pruning.criteria import CRITERIA, REVERSED, Criterion

    columns: tuple[Column[Criterion], ...] = (
        Column("criterion", lambda row: ", ".join((row.name, *row.aliases))),
        Column("looks at", lambda row: row.looks_at),
        Column("formula", lambda row: row.formula),
        Column("source", lambda row: row.source),
    )
    notes = (
        "i: a neuron; g, u, d: its weights in gate, up and down; a: its output on calibration text.",
        f"{REVERSED}-NAME keeps what NAME removes: a control. MODULE:FUNCTION is one of your own.",
    )
    return "\n".join([render(columns, CRITERIA.values(), "simple", room=terminal_width()), "", *map(wrapped, notes)])
