"""What there is to choose from."""

from glu_prune.report.table import Column, render, wrapped


def models() -> str:
    """A table of every model with a name: whether it is here, and what fetches it if not."""
    from glu_prune.models.fetchable import FETCHABLE, fetched, how_to_fetch
    from glu_prune.models.source import MODELS, embedded_models

    rows = [
        *((name, "embedded", "Apache-2.0", str(MODELS / name)) for name in embedded_models()),
        *((each.name, each.about, each.licence, str(fetched(each.name) or "")) for each in FETCHABLE.values()),
    ]
    columns: tuple[Column[tuple[str, str, str, str]], ...] = (
        Column("model", lambda row: row[0]),
        Column("what", lambda row: row[1]),
        Column("licence", lambda row: row[2]),
        Column("where", lambda row: row[3] or how_to_fetch(row[0])),
    )
    return render(columns, rows, "simple")


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
        "NAME keeping LAYER:NEURON,NEURON never removes these neurons.",
    )
    return "\n".join([render(columns, CRITERIA.values(), "simple"), "", *map(wrapped, notes)])
