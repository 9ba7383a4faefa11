"""The pruning contract as a test module: `pytest --glu-contract MODEL` collects it, from any folder.

Models, criteria, ratios, divisors and blocks: the model is the user's, the rest is drawn by hypothesis.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from glu_prune.contract.properties import PROPERTIES
from glu_prune.contract.read import folder_of, read
from glu_prune.contract.subject import PruningCase, Subject, cases
from glu_prune.pruning.checksums import check

_ONCE = ("reloading_gives_the_same", "ratio_zero_changes_nothing")
"""Properties that write the model to disk, or in which little is drawn: fewer examples."""


@pytest.fixture(scope="module")
def glu_subject(request: pytest.FixtureRequest) -> Subject:
    """The model under contract, on its device and in its dtype."""
    option = request.config.getoption
    how = {name: option(f"--glu-{name.replace('_', '-')}") for name in ("dtype", "device", "attention", "device_map")}
    return read(option("--glu-contract"), **how)


@pytest.mark.parametrize("name", PROPERTIES)
def test_property(name: str, glu_subject: Subject, request: pytest.FixtureRequest) -> None:
    """Property `name` holds, whatever is drawn."""
    examples = request.config.getoption("--glu-contract-examples")

    @settings(
        max_examples=max(1, examples // 5) if name in _ONCE else examples,
        deadline=None,
        derandomize=True,  # a failure in CI is the same failure on a desk
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(glu_subject.width_map))
    def holds(case: PruningCase) -> None:
        PROPERTIES[name](glu_subject, case)

    holds()


def test_weights_are_what_pruning_wrote(request: pytest.FixtureRequest) -> None:
    """The tensors of a folder that this package pruned are, byte for byte, those that it wrote."""
    folder = folder_of(request.config.getoption("--glu-contract"))
    if not check(folder):
        pytest.skip(f"{folder} was not written by glu-prune")
