"""How families of models store GLU blocks: one small adapter per layout, recognised by names and shapes.

An adapter yields the blocks that a module holds directly, and none if the module has another layout.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from glu_prune.pruning.glu_block import GluBlock, NeuronSlice

Layout = Callable[[str, nn.Module], Iterator[GluBlock]]
"""(name of a module in its model, the module) -> the blocks it holds."""


def _find(module: nn.Module, path: str) -> nn.Module | None:
    """The submodule at a dotted path, if there is one."""
    # Every layout looks into every module of a model: `getattr` takes ten times as long for what is not there.
    found: nn.Module | None = module
    for part in path.split("."):
        if found is None:
            return None
        found = found._modules.get(part)
    return found


def _linears(module: nn.Module, *paths: str) -> list[nn.Linear] | None:
    """The linear layers at dotted paths, if all are there and are linear."""
    found = []
    for path in paths:
        if not isinstance(layer := _find(module, path), nn.Linear):
            return None
        found.append(layer)
    return found


@dataclass(frozen=True)
class SplitLinears:
    """Three linear layers, by their names: gate and up `(width, hidden)`, down `(hidden, width)`."""

    gate: str
    up: str
    down: str
    norm: str | None = None
    """A norm over the neurons, between up and down, if the layout has one."""

    def __call__(self, name: str, module: nn.Module) -> Iterator[GluBlock]:
        """The block, if all three layers are there."""
        if (linears := _linears(module, self.gate, self.up, self.down)) is None:
            return
        gate, up, down = linears
        others = [NeuronSlice(layer, "bias", 0) for layer in (gate, up) if layer.bias is not None]
        norm = _find(module, self.norm) if self.norm else None
        if norm is not None:
            others.append(NeuronSlice(norm, "weight", 0))
        joined = [(norm, "forward")] if norm is not None else []
        if getattr(module, "activation_sparsity", 0) > 0:  # Gemma 3n: a threshold from the mean over all neurons
            joined.append((module, "_gaussian_topk"))
        matrices = NeuronSlice(gate, "weight", 0), NeuronSlice(up, "weight", 0), NeuronSlice(down, "weight", 1)
        yield GluBlock(name, name, f"{self.gate}, {self.up}, {self.down}", *matrices, tuple(others), tuple(joined))


@dataclass(frozen=True)
class FusedLinear:
    """Gate and up stacked in one linear layer `(2 width, hidden)`, and down `(hidden, width)`."""

    gate_up: str
    down: str
    adapters: str | None = None
    """A list of low-rank additions to gate_up, each ending in a linear layer `(2 width, rank)`."""

    def __call__(self, name: str, module: nn.Module) -> Iterator[GluBlock]:
        """The block, if both layers are there and the first is twice as wide as the second, as no plain MLP is."""
        linears = _linears(module, self.gate_up, self.down)
        # Names such as fc1 and fc2 are those of plain MLPs, too; only the width tells.
        if linears is None or linears[0].out_features != 2 * linears[1].in_features:
            return
        fused, down = linears
        wide: list[tuple[nn.Module, str]] = [(fused, "bias")] if fused.bias is not None else []
        adapters = getattr(module, self.adapters, ()) if self.adapters else ()
        wide += [(adapter[-1], "weight") for adapter in adapters if isinstance(adapter, nn.Sequential)]
        others = tuple(NeuronSlice(layer, kind, 0, None, part, 2) for layer, kind in wide for part in (0, 1))
        gate, up = (NeuronSlice(fused, "weight", 0, None, part, 2) for part in (0, 1))
        yield GluBlock(name, name, f"{self.gate_up}, {self.down}", gate, up, NeuronSlice(down, "weight", 1), others)


def fused_experts(name: str, module: nn.Module) -> Iterator[GluBlock]:
    """Experts as `gate_up_proj (experts, 2 width, hidden)` and `down_proj (experts, hidden, width)`.

    Or each transposed; gate and up one after the other or interleaved. Most mixtures of experts since transformers 5.
    """
    yield from _stacked(name, module, "gate_up_proj", "down_proj")


def parallel_experts(name: str, module: nn.Module) -> Iterator[GluBlock]:
    """Experts as `input_linear.weight` and `output_linear.weight`, shaped like `fused_experts`: JetMoE."""
    yield from _stacked(name, module, "input_linear.weight", "output_linear.weight")


def _shape(module: nn.Module, path: str) -> tuple[int, ...]:
    *parents, leaf = path.split(".")
    owner = _find(module, ".".join(parents)) if parents else module
    parameter = None if owner is None else owner._parameters.get(leaf)
    return () if parameter is None else tuple(parameter.shape)


def _stacked(name: str, module: nn.Module, gate_up: str, down: str) -> Iterator[GluBlock]:
    wide, narrow = (_shape(module, path) for path in (gate_up, down))
    if len(wide) != 3 or len(narrow) != 3:
        return
    # Shapes alone tell the orientation: both conditions at once would make a width its own double.
    transposed = wide[1] == narrow[2] and wide[2] == 2 * narrow[1]
    if not transposed and not (wide[2] == narrow[1] and wide[1] == 2 * narrow[2]):
        return
    interleaved = not getattr(module, "is_concatenated", True)
    dim = 1 if transposed else 0
    bias = _shape(module, f"{gate_up}_bias")

    def pair(path: str, axis: int, expert: int) -> tuple[NeuronSlice, NeuronSlice]:
        gate, up = (NeuronSlice(module, path, axis, expert, part, 2, interleaved) for part in (0, 1))
        return gate, up

    form = f"experts {gate_up}, {down}{' transposed' if transposed else ''}{' interleaved' if interleaved else ''}"
    for expert in range(narrow[0]):
        others: tuple[NeuronSlice, ...] = pair(f"{gate_up}_bias", 0, expert) if bias else ()
        if expert == 0:  # rows of experts that have no down projection (identities) are never read, only shaped
            others += tuple(s for extra in range(narrow[0], wide[0]) for s in pair(gate_up, dim, extra))
        gate, up = pair(gate_up, dim, expert)
        yield GluBlock(f"{name}.{expert}", name, form, gate, up, NeuronSlice(module, down, 1 - dim, expert), others)


def split_experts(name: str, module: nn.Module) -> Iterator[GluBlock]:
    """Experts as `gate_proj`, `up_proj (experts, width, hidden)` and `down_proj (experts, hidden, width)`."""
    gate, up, down = (_shape(module, path) for path in ("gate_proj", "up_proj", "down_proj"))
    if len(gate) != 3 or gate != up or down != (gate[0], gate[2], gate[1]):
        return
    for expert in range(gate[0]):
        first, second = (NeuronSlice(module, path, 0, expert) for path in ("gate_proj", "up_proj"))
        last = NeuronSlice(module, "down_proj", 1, expert)
        yield GluBlock(f"{name}.{expert}", name, "experts gate_proj, up_proj, down_proj", first, second, last)


def flat_experts(name: str, module: nn.Module) -> Iterator[GluBlock]:
    """Experts one below the other in `w1`, `v1` and `w2 (experts * width, hidden)`, down transposed: DBRX."""
    experts = getattr(module, "moe_num_experts", 0)
    shapes = {_shape(module, path) for path in ("w1", "v1", "w2")}
    if not experts or len(shapes) != 1 or len(next(iter(shapes))) != 2:
        return
    for expert in range(experts):
        gate, up, down = (NeuronSlice(module, path, 0, None, expert, experts) for path in ("w1", "v1", "w2"))
        yield GluBlock(f"{name}.{expert}", name, "experts w1, v1, w2", gate, up, down)


LAYOUTS: tuple[Layout, ...] = (
    SplitLinears("gate_proj", "up_proj", "down_proj", norm="ffn_sub_norm"),  # Llama and the many like it; BitNet
    SplitLinears("w1", "w3", "w2"),  # LFM2
    SplitLinears("wi_0", "wi_1", "wo"),  # T5 v1.1
    SplitLinears("w_in.w_0", "w_in.w_1", "w_out"),  # CPM-Ant
    SplitLinears("proj_up_gate", "proj_up", "proj_down"),  # xLSTM
    FusedLinear("gate_up_proj", "down_proj", adapters="gate_up_proj_adapter_list"),  # Phi-3, GLM-4; Zamba2
    FusedLinear("Wi", "Wo"),  # ModernBERT
    FusedLinear("input_linear", "output_linear"),  # GraniteMoE's shared MLP
    FusedLinear("fc1", "fc2"),  # Moshi
    fused_experts,
    parallel_experts,
    split_experts,
    flat_experts,
)
