"""One batch of prompts through transformers' `generate`: exactly so many new tokens, and the time of each of them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from glu_prune.efficiency.workload import Batch
from glu_prune.errors import WorkloadError
from glu_prune.units import Seconds


@dataclass(frozen=True)
class PaddedBatch:
    """A batch as tensors on the model's device, padded on the left."""

    input_ids: Any
    """(batch, longest)."""
    attention_mask: Any
    """(batch, longest): 0 where there is padding."""
    prompt_tokens: int
    """Padding left out."""


def padded(batch: Batch, device: Any) -> PaddedBatch:
    """`batch` as tensors; padding is token 0, which is masked."""
    import torch

    longest = max(map(len, batch))
    ids = [(0,) * (longest - len(row)) + row for row in batch]
    mask = [(0,) * (longest - len(row)) + (1,) * len(row) for row in batch]
    return PaddedBatch(torch.tensor(ids, device=device), torch.tensor(mask, device=device), sum(map(len, batch)))


class Generator:
    """Answers batches with one model, greedily, and reads the clock at every token.

    Times are those of `generate`, as people call it: its own work between two forward passes is in them.
    """

    def __init__(self, model: Any) -> None:
        """`model` is used as it is, on its device."""
        self._model = model
        self._clock: _HostClock | _CudaClock = (_CudaClock if model.device.type == "cuda" else _HostClock)(model.device)
        self.clock = self._clock.name
        """What times are read from."""

    def wait(self) -> None:
        """Until the device has done all its work."""
        self._clock.wait()

    def __call__(self, batch: PaddedBatch, new_tokens: int) -> tuple[Seconds, Seconds]:
        """(time to first token, time to last token) of the whole batch.

        Raises:
            WorkloadError: the model gave fewer or more than `new_tokens`, or not one in each step.
        """
        import torch

        times, settings = _TokenTimes(self._clock), _settings(self._model, new_tokens)
        with torch.inference_mode(), _own_settings_aside(self._model):
            self._clock.wait()
            begin = self._clock.mark()
            tokens = self._model.generate(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                generation_config=settings,
                stopping_criteria=[times],
            )
        self._clock.wait()
        found = tokens.shape[1] - batch.input_ids.shape[1]
        if (found, len(times.taken)) != (new_tokens, new_tokens):
            msg = f"{new_tokens} new tokens were asked for, {found} came in {len(times.taken)} steps; no figure holds"
            raise WorkloadError(msg)
        first, last = (self._clock.seconds(begin, times.taken[place]) for place in (0, -1))
        return Seconds(first), Seconds(last)


def _settings(model: Any, new_tokens: int) -> Any:
    """Greedy, with a cache, and exactly so many tokens: ends of text are known, so that they are suppressed."""
    from transformers import GenerationConfig

    own = getattr(model, "generation_config", None)
    ends = getattr(own, "eos_token_id", None)
    if ends is None:
        ends = getattr(model.config, "eos_token_id", None)
    return GenerationConfig(
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=ends,
        pad_token_id=0,
    )


@contextmanager
def _own_settings_aside(model: Any) -> Iterator[None]:
    """`generate` would fill ours up with the model's: penalties, guidance, speculation, limits of time."""
    from transformers import GenerationConfig

    own = getattr(model, "generation_config", None)
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


class _TokenTimes:
    """A stopping criterion that never stops, called once per token: reads the clock."""

    def __init__(self, clock: "_HostClock | _CudaClock") -> None:
        self._clock = clock
        self.taken: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        del scores
        self.taken.append(self._clock.mark())
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


class _HostClock:
    """The host's clock, once the device has come to the same point."""

    name = "host clock"

    def __init__(self, device: Any) -> None:
        self._device = device

    def wait(self) -> None:
        if self._device.type != "cpu":
            import torch

            torch.accelerator.synchronize(self._device)

    def mark(self) -> float:
        self.wait()
        return time.perf_counter()

    @staticmethod
    def seconds(begin: float, end: float) -> float:
        return end - begin


class _CudaClock:
    """Events in the stream of the GPU, which does not wait for them."""

    name = "CUDA events"

    def __init__(self, device: Any) -> None:
        self._device = device

    def wait(self) -> None:
        import torch

        torch.cuda.synchronize(self._device)

    def mark(self) -> Any:
        import torch

        with torch.cuda.device(self._device):
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
        return event

    @staticmethod
    def seconds(begin: Any, end: Any) -> float:
        return float(begin.elapsed_time(end)) / 1000
