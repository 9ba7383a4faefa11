"""The command that puts evidence into a model's card, and the model onto the hub."""

from pathlib import Path
from typing import Annotated

import typer

from glu_prune.commands.terminal import Answer, interruptible
from glu_prune.errors import CheckpointError


def card(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A checkpoint, as `prune` or another tool wrote it.")
    ],
    results: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="A results folder or its report.json, or a store or a pack of records, in which it was judged.",
        ),
    ] = None,
    expectations: Annotated[Path, typer.Option(metavar="PATH", help="The claims by which records are judged.")] = Path(
        "expectations"
    ),
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Then upload the folder to this repository of the hub.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Make that repository one that everyone sees.")] = False,
) -> Answer:
    """Put what was found about a checkpoint into its card.

    Verdicts, costs and scores of that checkpoint alone; then, perhaps, onto the hub.
    """
    if results is None and push_to_hub is None:
        msg = "nothing is to be done; name what was found with --from, or a repository with --push-to-hub"
        raise typer.BadParameter(msg)
    if public and push_to_hub is None:
        msg = "--public is about a repository; name one with --push-to-hub"
        raise typer.BadParameter(msg)
    if not (folder / "config.json").is_file():
        msg = f"{folder} is no checkpoint: it has no config.json; name a folder that `prune` or another tool wrote"
        raise CheckpointError(msg)
    said = []
    if results is not None:
        said.append(_written(folder, results, expectations))
    if push_to_hub is not None:
        from glu_prune.models.hub import push

        with interruptible():
            said.append(f"{folder} is at {push(folder, push_to_hub, public=public)}")
    return Answer("\n".join(said))


def _written(folder: Path, results: str, expectations: Path) -> str:
    from glu_prune.report.evidence import write_evidence
    from glu_prune.sources.judged import opened

    cells = write_evidence(folder, opened(results, expectations, Path.cwd()).report)
    arms = ", ".join(dict.fromkeys(f"{cell.arm} ({cell.model})" for cell in cells))
    return f"{folder / 'README.md'}: what {results} says of {arms}, {len(cells)} tasks"
