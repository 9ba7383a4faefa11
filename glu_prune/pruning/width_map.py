"""Which entry of a model's configuration sets the width of which block: found by probing the model's own class.

The class is built a second time on the meta device, without memory for weights, with every entry that may be a width
multiplied by its own prime. Whatever is larger by that prime follows that entry: blocks, parameters, and attributes of
modules. So no list of families is needed, and a dependence that no layout knows is noticed.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from glu_prune.errors import UnsupportedModelError, first_line
from glu_prune.pruning.blocks import OTHER_TOWERS, by_owner, find_blocks
from glu_prune.pruning.glu_block import GluBlock

WIDTHS = "glu_widths"
"""Configuration entry of models whose widths their configuration cannot express: owner of blocks to width."""
_WIDTH_ENTRY = re.compile(r"intermediate_(size|dim)|ffn_(hidden_)?(dim|size)|(^|_)(d_ff|dim_ff|ff_dim|n_inner)$")
_DERIVATIONS: Mapping[str, object] = {"block_auto_adjust_ff_dim": False}
"""Entries that derive a width from its entry (LFM2), with the value that switches this off. Where widths change, the
derivation is switched off and the derived width is written into the entry."""
_PRIMES = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43)
"""Primes, so that what follows two entries at once is not mistaken for what follows a third."""

_ROW = 16
"""Bytes of which rows of the factors of grouped kernels are a multiple."""

Path = tuple[str, ...]
"""Where an entry is in a configuration: keys of sub-configurations, then its own."""


@dataclass(frozen=True)
class WidthAttribute:
    """An integer attribute of a module that follows a width, such as `out_features`."""

    module: str
    name: str
    value: int
    """Its value where widths are `WidthMap.base`."""
    entry: Path


@dataclass(frozen=True)
class WidthMap:
    """The GLU blocks of a model, and how its configuration expresses their widths."""

    blocks: tuple[GluBlock, ...]
    entries: Mapping[str, Path] = field(default_factory=dict)
    """Block to the configuration entry that its width follows; blocks that follow none are absent."""
    base: Mapping[str, int] = field(default_factory=dict)
    """Block to the width that the configuration gives it; the model itself may be narrower already (`glu_widths`)."""
    width_attributes: tuple[WidthAttribute, ...] = ()
    config: Any = None
    """The configuration whose widths are `base`; None for a module without one."""
    switches: Mapping[Path, Any] = field(default_factory=dict)
    """Entries to switch off when widths change, because they derive a width from its entry."""
    parameters: int = 0
    """Of the whole model."""

    @property
    def itemsize(self) -> int:
        """Bytes of a weight."""
        return self._dtype(self.blocks[0]).itemsize

    def step(self, block: GluBlock) -> int:
        """Of what the width of `block` must be a multiple, so that transformers can multiply by it.

        Grouped kernels take rows of whole 16 bytes: 4 neurons in float32, 8 in bfloat16. Source: the check of strides
        in torch's `_grouped_mm`.
        """
        return max(1, _ROW // self._dtype(block).itemsize) if block.grouped else 1

    def _dtype(self, block: GluBlock) -> torch.dtype:
        """Of the weights of `block`; where they are on the meta device, as the configuration says."""
        said = getattr(self.config, "dtype", None) if block.down.tensor.is_meta else None
        found = getattr(torch, said, None) if isinstance(said, str) else said
        return found if isinstance(found, torch.dtype) else block.down.tensor.dtype

    def factor(self, block: GluBlock) -> Fraction:
        """How many times its configuration entry the width of `block` is: 2 for two shared experts in one.

        1 for a block that follows no entry.
        """
        if block.name not in self.entries:
            return Fraction(1)
        return Fraction(self.base[block.name], int(_item(self.config, self.entries[block.name], block.layer)))

    def group(self, block: GluBlock) -> object:
        """What is the same for blocks that must change together: their configuration entry, or else their owner."""
        return self.entries.get(block.name, block.owner)

    def changes(self, widths: Mapping[str, int]) -> dict[Path, Any]:
        """What to set in the configuration so that every block has its width in `widths` (block name to width).

        Where entries can express all widths, they do; otherwise they stay, and `glu_widths` holds the widths, which
        `glu_prune.load` reads.
        """
        if self.config is None or all(widths[block.name] == block.width for block in self.blocks):
            return {}
        # The configuration's own entries first, because then every loader reads the model; `glu_widths` is our own.
        found = self._express(widths)
        if found is None:
            return {(WIDTHS,): {owner: widths[blocks[0].name] for owner, blocks in by_owner(self.blocks).items()}}
        return {**found, **self.switches, (WIDTHS,): None}

    def _express(self, widths: Mapping[str, int]) -> dict[Path, Any] | None:
        """New values of configuration entries; None if they cannot express `widths`."""
        found: dict[Path, Any] = {}
        done: dict[tuple[Path, int | None], int] = {}
        for block in self.blocks:
            if block.name not in self.entries:
                if widths[block.name] != self.base[block.name]:
                    return None
                continue
            path = self.entries[block.name]
            value = widths[block.name] / self.factor(block)
            whole = found.setdefault(path, copy.copy(entry(self.config, path)))
            layer = block.layer if isinstance(whole, list | tuple) else None
            if value.denominator != 1 or done.setdefault((path, layer), int(value)) != value:
                return None
            found[path] = (
                int(value) if layer is None else [int(value) if i == layer else v for i, v in enumerate(whole)]
            )
        return found


def configure(config: Any, changes: Mapping[Path, Any]) -> None:
    """Sets entries of `config`, in place; those that become None are removed."""
    for path, value in changes.items():
        owner = entry(config, path[:-1])
        if value is not None:
            setattr(owner, path[-1], value)
        elif path[-1] in vars(owner):
            delattr(owner, path[-1])


def meta_model(kind: type[nn.Module], config: Any) -> nn.Module:
    """A model of class `kind` on the meta device: names, shapes and attributes, no memory for weights.

    Raises:
        UnsupportedModelError: the class cannot be built from this configuration.
    """
    try:
        with torch.device("meta"), _quiet_init():
            model: Any = kind(copy.deepcopy(config))
            model.tie_weights()  # tied parameters are one object only after this, and are counted and cut once
            return model  # type: ignore[no-any-return]
    except Exception as error:  # every family builds its modules, and complains, in its own way
        msg = f"{kind.__name__} cannot be built from its configuration: {first_line(error)}"
        raise UnsupportedModelError(msg) from error


@contextmanager
def _quiet_init() -> Iterator[None]:
    """Skips the initialisation of weights that do not exist."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        yield


def map_widths(model: nn.Module) -> WidthMap:
    """The blocks of `model` and how its configuration expresses their widths; a plain module has blocks only.

    Raises:
        UnsupportedModelError: there is no GLU block; something else than GLU blocks depends on their width; or the
            model is not what its configuration says.
    """
    from transformers import PreTrainedModel

    blocks, total = find_blocks(model), sum(each.numel() for each in model.parameters())
    if not isinstance(model, PreTrainedModel):
        return WidthMap(blocks, base={block.name: block.width for block in blocks}, parameters=total)
    # Without `glu_widths` the class builds the widths of the original, which are what entries are compared with.
    config = copy.deepcopy(model.config)
    narrowed = vars(config).pop(WIDTHS, None)
    switches = _switch_off_derivations(config, blocks)
    probe, grown, primes = _probe(_Spelled.of(model, config))
    # Ratios of exact fractions: one block may be a multiple of its entry (shared experts), so only growth tells.
    base = model if narrowed is None else meta_model(type(model), config)
    known = blocks if base is model else find_blocks(base)
    found = {block.name: block.width for block in known}
    ratios = {name: Fraction(grown.get(name, 0), width) for name, width in found.items()}
    wrong = next((block for block in blocks if ratios.get(block.name) not in (1, *primes)), None)
    if wrong is not None:
        msg = (
            f"{wrong.name} has width {wrong.width}, which is not what a {type(model).__name__} built from its "
            "configuration has; set that right, or load the model with glu_prune.load"
        )
        raise UnsupportedModelError(msg)
    entries = {name: primes[ratio] for name, ratio in ratios.items() if ratio in primes}
    used = {ratio: path for ratio, path in primes.items() if path in entries.values()}
    _refuse_unknown(base, known, probe, used)
    return WidthMap(blocks, entries, found, tuple(_width_attributes(base, probe, used)), config, switches, total)


def _switch_off_derivations(config: Any, blocks: tuple[GluBlock, ...]) -> dict[Path, Any]:
    """Writes the derived width into its entry and switches the derivation off; returns what was switched."""
    switches: dict[Path, Any] = {}
    for name, off in _DERIVATIONS.items():
        if getattr(config, name, off) != off:
            setattr(config, name, off)
            config.intermediate_size = blocks[0].width
            switches[(name,)] = off
    return switches


@dataclass(frozen=True)
class _Spelled:
    """A class and a configuration, which are the same as others if both are spelled the same."""

    kind: type[nn.Module]
    config: Any = field(compare=False)
    text: str

    @classmethod
    def of(cls, model: Any, config: Any) -> "_Spelled":
        return cls(type(model), config, repr(config.to_dict()))


@lru_cache(maxsize=2)  # plans and cuts of one model, one after the other, all ask for the same
def _probe(spelled: _Spelled) -> tuple[nn.Module, Mapping[str, int], Mapping[Fraction, Path]]:
    """The meta model with every width entry multiplied by its own prime, its widths, and the entry of each prime."""
    config = spelled.config
    grown = copy.deepcopy(config)
    primes = {}
    for prime, path in zip(_PRIMES, _width_entries(config), strict=False):
        value = entry(config, path)
        whole = [item * prime for item in value] if isinstance(value, list | tuple) else value * prime
        configure(grown, {path: whole})
        primes[Fraction(prime)] = path
    model = meta_model(spelled.kind, grown)
    return model, {block.name: block.width for block in find_blocks(model)}, primes


def _width_entries(config: Any, above: Path = ()) -> Iterator[Path]:
    """Every entry of `config` and its sub-configurations that may be a width; those of other towers are left out."""
    for name, value in vars(config).items():
        if hasattr(value, "to_dict") and not OTHER_TOWERS.search(name):
            yield from _width_entries(value, (*above, name))
        elif _WIDTH_ENTRY.search(name) and _is_width(value):
            yield (*above, name)


def _is_width(value: object) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(_is_width(item) for item in value)
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _refuse_unknown(
    base: nn.Module, blocks: tuple[GluBlock, ...], probe: nn.Module, primes: Mapping[Fraction, Path]
) -> None:
    """Raises `UnsupportedModelError` if a parameter follows the width of blocks without being part of one."""
    # Such a parameter (a gate over neurons, a bias in an unknown place) would keep its size, and the model would fail
    # in its first forward pass, or, where shapes broadcast, answer wrongly.
    known = {id(neurons.tensor) for block in blocks for neurons in block.slices}
    larger = dict(probe.named_parameters())
    for name, parameter in base.named_parameters():
        if id(parameter) in known or name not in larger:
            continue
        if any(Fraction(b, a) in primes for a, b in zip(parameter.shape, larger[name].shape, strict=True) if a):
            msg = f"{name} {tuple(parameter.shape)} depends on the width of GLU blocks, in a way that no layout knows"
            raise UnsupportedModelError(msg)


def _width_attributes(base: nn.Module, probe: nn.Module, primes: Mapping[Fraction, Path]) -> Iterator[WidthAttribute]:
    """Every integer attribute of a module that grew by the prime of an entry."""
    others = dict(probe.named_modules())
    for name, module in base.named_modules():
        larger = vars(others[name]) if name in others else {}
        for attribute, value in vars(module).items():
            other = larger.get(attribute)
            if type(value) is type(other) is int and value > 0 and other != value:
                path = primes.get(Fraction(other, value))
                if path is not None:
                    yield WidthAttribute(name, attribute, value, path)


def entry(config: Any, path: Path) -> Any:
    """The value at `path` in a configuration."""
    for name in path:
        config = getattr(config, name)
    return config


def _item(config: Any, path: Path, layer: int | None) -> Any:
    """The value of an entry, or of its item for `layer` where there is one value per layer."""
    value = entry(config, path)
    return value[layer or 0] if isinstance(value, list | tuple) else value
