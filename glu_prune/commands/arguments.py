"""Arguments that several commands take, each declared once."""

import os
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from glu_prune.pruning.engines import EngineName
from glu_prune.units import whole

Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]
DeviceMap: TypeAlias = Literal["auto", "balanced", "balanced_low_0", "sequential"]


def positive(given: str | int) -> int:
    """A whole number of at least 1; typer parses defaults as it does texts."""
    if (number := whole(str(given))) is None or number < 1:
        msg = f"{given!r} is not allowed; it is a whole number of at least 1"
        raise typer.BadParameter(msg)
    return number


def data_folder(text: str) -> Path:
    """A folder that is there."""
    if not Path(text).is_dir():
        msg = f"{text!r} is no folder; name a folder of benchmark data"
        raise typer.BadParameter(msg)
    return Path(text)


def store_folder(given: str | Path) -> Path:
    """A folder of records; of a store elsewhere, its copy."""
    from glu_prune.experiment.shared import placed

    return placed(given)


def use(data: Path | None) -> None:
    """Makes the data folder that was named, if one was, the one that is used."""
    from glu_prune.evaluation.local_data import VARIABLE

    if data is not None:
        os.environ[VARIABLE] = str(data.absolute())


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name, see `glu-prune models`; a folder or GGUF file; or a Hugging Face id in the cache.",
    ),
]
Revision = Annotated[str | None, typer.Option(metavar="REVISION", help="Of a Hugging Face model.")]
Offline = Annotated[bool, typer.Option("--offline", help="Open no connection, whatever libraries would like to.")]
Criterion = Annotated[str, typer.Option(metavar="NAME", help="How neurons are ranked; see `glu-prune criteria`.")]
CriterionSeed = Annotated[int, typer.Option(metavar="N", help="For criteria that draw; not 0: breaks ties, too.")]
Calibration = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Text for criteria that look at activations, one per line; or `everyday`."),
]
CalibrationTokens = Annotated[
    int | None,
    typer.Option(
        parser=positive, metavar="N", help="Show so many tokens of it, of lines that --seed draws.", show_default="all"
    ),
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="Torch device.")]
WeightsDtype = Annotated[
    Literal["auto", Dtype], typer.Option(help="Dtype of the weights; auto: the fastest that says the same.")
]

Ratio = Annotated[str | None, typer.Option(metavar="RATIO", help="Fraction of neurons to remove, such as 0.4.")]
ExpansionRatio = Annotated[
    str | None, typer.Option(metavar="RATIO", help="Width over hidden size afterwards, such as 2.4.")
]
Width = Annotated[str | None, typer.Option(metavar="N", help="Neurons per block afterwards, such as 4916.")]
MultipleOf = Annotated[
    str | None,
    typer.Option(metavar="N", help="Round widths to a multiple of N.", show_default="1; of experts, whole 16 bytes"),
]
Engine = Annotated[
    EngineName | None, typer.Option("--for", help="The engine that serves it: which widths does that want?")
]
LayerRatio = Annotated[
    list[str] | None, typer.Option(metavar="LAYER=RATIO", help="A ratio for one layer; may be repeated.")
]
Allocation = Annotated[
    str,
    typer.Option(
        metavar="HOW", help="Whether layers lose alike: uniform, by_score, or a file of `glu-prune sensitivity`."
    ),
]
Skip = Annotated[
    list[str] | None, typer.Option(metavar="LAYER", help="A layer, or a pattern of block names; may be repeated.")
]

ExpectationFiles = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE", help="Expectation files, or folders of them.", show_default="expectations/"),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data", parser=data_folder, metavar="DIR", help="A folder of benchmark data, as GLU_PRUNE_DATA names one."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(parser=positive, metavar="N", help="Items of each task, drawn once.", show_default="all"),
]
Chat = Annotated[bool, typer.Option("--chat", help="Put prompts into the model's chat template.")]
StoreFolder = Annotated[
    Path,
    typer.Option("--store", parser=store_folder, metavar="DIR", help="Where records are kept; also s3://BUCKET/NAME."),
]
NewFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="The new folder that is written.")]
