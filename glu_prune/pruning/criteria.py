"""Criteria: how much a neuron matters. Each is a pure function of one block's neurons; higher scores are kept."""

import functools
import hashlib
import importlib
import inspect
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, TypeVar

from glu_prune import syntax
from glu_prune.errors import PlanError, first_line, shown

if TYPE_CHECKING:
    import torch

    from glu_prune.pruning.glu_block import GluWeights

REVERSED = "reversed"
"""Prefix of a criterion's control: `reversed-ppm` keeps what `ppm` removes."""
KEEPING = " keeping "
"""Between a criterion and the neurons that stay whatever it says: `ppm keeping 0:97,767 5:3`, layer by layer."""
_NEURONS = re.compile(r"(\d{1,9}):(\d{1,9}(?:,\d{1,9})*)", re.ASCII)
_DEFAULT = "ppm"
_HALF = 2
"""Bytes of a 16-bit float."""


@dataclass(frozen=True)
class Activations:
    """What the neurons of one block put out on calibration text, `activation(gate) * up`, which down multiplies.

    All are float32 `(width,)`; each token that reaches the block counts once.
    """

    norm: "torch.Tensor"
    """L2 norm over all tokens."""
    variance: "torch.Tensor"
    """Over all tokens, around the mean of all."""
    magnitude: "torch.Tensor"
    """Mean absolute value over the tokens of a text; L2 norm of these over the texts."""


@dataclass(frozen=True)
class Neurons:
    """What a criterion may look at: one block."""

    weights: "GluWeights"
    """gate and up `(width, hidden)`, down `(hidden, width)`, in the model's dtype."""
    seed: int = 0
    """For seeded criteria; differs from block to block."""
    activations: Activations | None = None
    """None without calibration text."""


Score = Callable[[Neurons], "torch.Tensor"]
"""The neurons of a block -> scores `(width,)`, float32."""
_Score = TypeVar("_Score", bound=Score)


@dataclass(frozen=True)
class Criterion:
    """A way to score neurons, by name."""

    name: str
    score: Score
    formula: str
    """In short; i is the neuron, g, u and d its weights in gate, up and down, a its activations."""
    source: str
    looks_at: str = "weights"
    """`weights`, `activations` (and weights), or `nothing`."""
    aliases: tuple[str, ...] = ()
    keep: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Layer to neurons that stay whatever the score says."""

    @cached_property
    def source_digest(self) -> str:
        """SHA-256 of the code of `score` and of its module, which users can change without changing this package.

        Comments and docstrings do not count.
        """
        score = inspect.unwrap(self.score)
        try:
            code = f"{_code(score)}\0{_code(inspect.getmodule(score) or score)}"
        except (OSError, TypeError):
            code = repr(score)
        return hashlib.sha256(code.encode()).hexdigest()

    def place(self, error: BaseException) -> str:
        """Where in the file of `score` it failed with `error`, ` (FILE:LINE)`; empty if that is not known."""
        # The last frame in the criterion's own file: deeper frames are torch's, and would not help its author.
        code = getattr(inspect.unwrap(self.score), "__code__", None)
        file = code.co_filename if code else None
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
        return f" ({file}:{lines[-1]})" if lines else ""


def _code(of: Callable[..., object] | ModuleType) -> str:
    """What the source of a function or a module says; the source itself where it cannot stand alone, as of a lambda."""
    source = inspect.getsource(of)
    try:
        return syntax.read(textwrap.dedent(source)).fingerprint
    except SyntaxError:
        return source


_registry: dict[str, Criterion] = {}
CRITERIA: Mapping[str, Criterion] = MappingProxyType(_registry)
"""Every criterion by its name; `register` adds to it."""


def register(
    name: str, *, formula: str, source: str, looks_at: str = "weights", aliases: tuple[str, ...] = ()
) -> Callable[[_Score], _Score]:
    """Makes the decorated function a criterion called `name`, everywhere a criterion can be named.

    Raises:
        PlanError: the name or an alias is taken, or `looks_at` is none of `weights`, `activations`, `nothing`.
    """
    for each in (name, *aliases):
        if each in _names() or each.startswith(REVERSED):
            msg = f"criterion {each!r} cannot be registered: the name is taken"
            raise PlanError(msg)
    if looks_at not in ("weights", "activations", "nothing"):
        msg = f"criterion {name!r} looks at {looks_at!r}; allowed: weights, activations, nothing"
        raise PlanError(msg)

    def add(score: _Score) -> _Score:
        _registry[name] = Criterion(name, score, formula, source, looks_at, aliases)
        return score

    return add


def _names() -> dict[str, Criterion]:
    return {name: each for each in CRITERIA.values() for name in (each.name, *each.aliases)}


def criterion(name: str) -> Criterion:
    """The criterion called `name`, one of its aliases, or the reverse of one: `reversed` (of ppm), `reversed-l2`.

    `MODULE:FUNCTION` is a function of a module that can be imported, or lies in the current folder. Any of them can be
    followed by ` keeping ` and neurons that stay whatever it says: `ppm keeping 0:97,767 5:3`, layer by layer.

    Raises:
        PlanError: there is none of that name.
    """
    if KEEPING in name:
        return _keeping(*name.split(KEEPING, 1))
    base = (name.removeprefix(REVERSED).removeprefix("-") or _DEFAULT) if name.startswith(REVERSED) else name
    found = _imported(base) if ":" in base else _names().get(base)
    if found is None:
        allowed = ", ".join(sorted(_names()))
        msg = (
            f"unknown criterion {name!r}; allowed: {allowed}, MODULE:FUNCTION for one of your own, {REVERSED}-NAME for "
            "the reverse of each, and `NAME keeping LAYER:NEURON,NEURON` for neurons that stay"
        )
        raise PlanError(msg)
    if base == name:
        return found
    score, about = found.score, f"-({found.formula})"

    @functools.wraps(score)  # so that `source_digest` and `place` find the function that is reversed
    def reverse(neurons: Neurons) -> "torch.Tensor":
        return -score(neurons)

    return Criterion(f"{REVERSED}-{found.name}", reverse, about, "control", found.looks_at)


def _keeping(name: str, listed: str) -> Criterion:
    """The criterion of that name, but that the neurons that are listed stay.

    Raises:
        PlanError: there is no such criterion, or the list cannot be read.
    """
    how, keep = criterion(name), dict[int, tuple[int, ...]]()
    for each in listed.split() or [""]:
        read = _NEURONS.fullmatch(each)
        if read is None or int(read[1]) in keep:
            msg = f"criterion {name!r} keeping {shown(each)}: write LAYER:NEURON,NEURON for each layer, as 0:97,767 5:3"
            raise PlanError(msg)
        keep[int(read[1])] = tuple(sorted(set(map(int, read[2].split(",")))))
    said = " ".join(f"{layer}:{','.join(map(str, neurons))}" for layer, neurons in sorted(keep.items()))
    about = f"{how.formula}; but these stay: {said}"
    return replace(how, name=f"{how.name}{KEEPING}{said}", formula=about, aliases=(), keep=keep)


def _imported(name: str) -> Criterion:
    """The function that `MODULE:FUNCTION` names; as it was registered, if its module does that.

    Raises:
        PlanError: the module cannot be imported, or has no such function.
    """
    module, _, function = name.partition(":")
    here = str(Path.cwd())
    # At the end of the path, so that a file in the current folder never hides an installed module.
    sys.path.append(here)
    try:
        score = getattr(importlib.import_module(module), function, None)
    except (Exception, SystemExit) as error:
        why = first_line(error)
        msg = f"criterion {name!r}: module {module!r} cannot be imported: {why}; it is looked for in {here}, too"
        raise PlanError(msg) from error
    finally:
        sys.path.remove(here)
    if not callable(score):
        msg = f"criterion {name!r}: module {module!r} has no function {function!r}"
        raise PlanError(msg)
    registered = next((each for each in CRITERIA.values() if each.score is score), None)
    formula = (inspect.getdoc(score) or function).splitlines()[0]
    return registered or Criterion(name, score, formula, module)


@register(
    "ppm",
    formula="max(g) + |min(g)| + max(u) + |min(u)|",
    source="arXiv:2512.22671, section 3",
    aliases=("maw",),
)
def ppm(neurons: Neurons) -> "torch.Tensor":
    """Peak-to-peak magnitude: `max_j w_ij + |min_j w_ij|`, summed over gate and up `(width, hidden)`; `(width,)`.

    The study this project tests first called it MAW. Maxima are taken in the weights' own dtype, which is exact.

    Source: arXiv:2512.22671, section 3.
    """
    return _peak_to_peak(neurons.weights.gate, 1) + _peak_to_peak(neurons.weights.up, 1)


def _peak_to_peak(weight: "torch.Tensor", dim: int) -> "torch.Tensor":
    """`max + |min|` along a dimension, in float32."""
    if dim == 1 and weight.element_size() == _HALF and weight.device.type == "cpu" and weight.is_contiguous():
        return _peak_to_peak_16_bit(weight)
    return weight.amax(dim).float() + weight.amin(dim).float().abs()


def _peak_to_peak_16_bit(weight: "torch.Tensor") -> "torch.Tensor":
    """The same for 16-bit floats, from their bits, which processors compare several times faster."""
    import torch

    # A float is its sign bit, then exponent and mantissa in the order of magnitudes. As signed integers, the largest
    # number has the largest bits if any number is positive; as unsigned integers, the smallest (most negative) number
    # has the largest bits if any is negative. A row of one sign breaks one of the two, and then all go the plain way.
    bits = weight.view(torch.int16)
    high = bits.amax(1)
    low = torch.from_numpy(bits.numpy().view("uint16").max(1).view("int16"))
    if bool((high < 0).any()) or bool((low >= 0).any()):
        return weight.amax(1).float() + weight.amin(1).float().abs()
    return high.view(weight.dtype).float() + low.view(weight.dtype).float().abs()


def _norm(weight: "torch.Tensor", order: int, dim: int) -> "torch.Tensor":
    norms: torch.Tensor = weight.float().norm(p=order, dim=dim)
    return norms


@register("vow", formula="var(g) + var(u)", source="OptiPFair 0.4.2, method VOW")
def vow(neurons: Neurons) -> "torch.Tensor":
    """Variance of weights: `var_j w_ij` (unbiased), summed over gate and up `(width, hidden)`; `(width,)`.

    Source: OptiPFair 0.4.2, method VOW.
    """
    return neurons.weights.gate.float().var(dim=1) + neurons.weights.up.float().var(dim=1)


@register("pon", formula="||g||_1 * ||u||_1", source="OptiPFair 0.4.2, method PON")
def pon(neurons: Neurons) -> "torch.Tensor":
    """Product of norms: `||gate_i||_1 * ||up_i||_1` over the rows of gate and up `(width, hidden)`; `(width,)`.

    Source: OptiPFair 0.4.2, method PON.
    """
    return _norm(neurons.weights.gate, 1, 1) * _norm(neurons.weights.up, 1, 1)


@register("l2", formula="||g||_2 + ||u||_2", source="OptiPFair 0.4.2, method L2")
def l2(neurons: Neurons) -> "torch.Tensor":
    """Sum of norms: `||gate_i||_2 + ||up_i||_2` over the rows of gate and up `(width, hidden)`; `(width,)`.

    Source: OptiPFair 0.4.2, method L2.
    """
    return _norm(neurons.weights.gate, 2, 1) + _norm(neurons.weights.up, 2, 1)


@register("pon3", formula="||g||_2 * ||u||_2 * ||d||_2", source="this project")
def pon3(neurons: Neurons) -> "torch.Tensor":
    """Three-way product of norms: `||gate_i||_2 * ||up_i||_2 * ||down_i||_2`; `(width,)`.

    Rows of gate and up `(width, hidden)`, columns of down `(hidden, width)`. Scaling up by a factor and down by its
    inverse changes neither the neuron nor its score, as it does with criteria that leave down out.

    Source: this project; the two-way product is OptiPFair's PON.
    """
    rows = _norm(neurons.weights.gate, 2, 1) * _norm(neurons.weights.up, 2, 1)
    return rows * _norm(neurons.weights.down, 2, 0)


@register(
    "wanda",
    formula="||a||_2 * ||d||_1",
    source="arXiv:2306.11695; per neuron as in arXiv:2312.11983",
    looks_at="activations",
)
def wanda(neurons: Neurons) -> "torch.Tensor":
    """Weight times activation: `||a_i||_2 * sum_j |down_ji|`; `(width,)`.

    `a_i` is the output of neuron i, which down `(hidden, width)` reads, over all calibration tokens.

    Source: Wanda, arXiv:2306.11695, equation 1, summed over a neuron's outgoing weights (Wanda-sp in arXiv:2312.11983).
    """
    return _activations(neurons, "wanda", "norm") * _norm(neurons.weights.down, 1, 0)


@register(
    "flap",
    formula="var(a) * ||d||_2^2",
    source="arXiv:2312.11983, WIFV",
    looks_at="activations",
)
def flap(neurons: Neurons) -> "torch.Tensor":
    """Fluctuation: the variance of `a_i` over calibration tokens, times `||down_i||_2^2`; `(width,)`.

    What a neuron puts out on average could be replaced by a constant, what fluctuates could not. FLAP itself adds that
    constant to a bias, and standardises scores to give layers widths of their own: neither is done here, where a pruned
    model has the shape of a stock one. `a_i` is the output of neuron i, which down `(hidden, width)` reads.

    Source: FLAP, arXiv:2312.11983, "weighted input feature variance".
    """
    return _activations(neurons, "flap", "variance") * _norm(neurons.weights.down, 2, 0).square()


@register(
    "minitron",
    formula="L2 over texts of mean |a|",
    source="arXiv:2407.14679, section 2.2",
    looks_at="activations",
)
def minitron(neurons: Neurons) -> "torch.Tensor":
    """Mean magnitude of a neuron's output over the tokens of a text, L2 norm over texts; `(width,)`.

    Weights play no part but through the output.

    Source: Minitron, arXiv:2407.14679, section 2.2, activation-based importance with (batch, sequence) aggregated by
    (L2, mean), as NVIDIA's Model Optimizer has it.
    """
    return _activations(neurons, "minitron", "magnitude")


@register(
    "ppm_hybrid",
    formula="(ppm(g) + ppm(u) + ppm(d), each over its maximum) * ||a||_2",
    source="OptiPFair 0.4.2, data-driven; after arXiv:2409.13199, equation 8",
    looks_at="activations",
    aliases=("maw_hybrid",),
)
def ppm_hybrid(neurons: Neurons) -> "torch.Tensor":
    """Peak-to-peak magnitude of gate, up and down, each divided by its maximum, summed, times `||a_i||_2`; `(width,)`.

    Rows of gate and up `(width, hidden)`, columns of down `(hidden, width)`; `a_i` as in `wanda`.

    Source: OptiPFair 0.4.2, PPM with a dataloader; after CFSP, arXiv:2409.13199, equation 8.
    """
    weights = neurons.weights
    parts = (_peak_to_peak(weights.gate, 1), _peak_to_peak(weights.up, 1), _peak_to_peak(weights.down, 0))
    gate, up, down = (part / (part.max() + 1e-8) for part in parts)
    return (gate + up + down) * _activations(neurons, "ppm_hybrid", "norm")


def _activations(neurons: Neurons, name: str, which: str) -> "torch.Tensor":
    if neurons.activations is None:
        msg = f"criterion {name} needs calibration text: calibration=... in Python, --calibration FILE in a shell"
        raise PlanError(msg)
    found: torch.Tensor = getattr(neurons.activations, which)
    return found.to(neurons.weights.down.device).float()


@register("random", formula="uniform, by seed", source="control", looks_at="nothing")
def random(neurons: Neurons) -> "torch.Tensor":
    """A control: uniform scores `(width,)` that know nothing of the weights, the same for the same seed."""
    import torch

    return torch.rand(neurons.weights.gate.shape[0], generator=torch.Generator().manual_seed(neurons.seed))
