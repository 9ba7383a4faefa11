import pytest

from glu_prune import units
from glu_prune.units import JOULES_PER_KILOWATT_HOUR, Joules, KilowattHours, Seconds, energy_over, joules, mean_power


def test_power_and_energy_are_inverse():
    assert energy_over(mean_power(Joules(30.0), Seconds(4.0)), Seconds(4.0)) == 30.0
    assert mean_power(joules(KilowattHours(1.0)), Seconds(3600.0)) == JOULES_PER_KILOWATT_HOUR / 3600 == 1000.0


@pytest.mark.parametrize(
    ("size", "words"),
    [
        *((0, "0 bytes"), (9_999, "9,999 bytes"), (10_000, "10.0 KB"), (940_000, "940.0 KB"), (1_000_000, "1.0 MB")),
        *((4_754_880, "4.8 MB"), (2_500_000_000, "2.5 GB")),
    ],
)
def test_a_size_is_never_rounded_to_nothing(size, words):
    assert units.size_of(size) == words


@pytest.mark.parametrize(("made", "accepted"), [("joules(KilowattHours(1))", True), ("KilogramsCO2e(1)", False)])
@pytest.mark.slow("starts mypy")
def test_mypy_refuses_kilograms_where_joules_are_wanted(made, accepted, tmp_path):
    api = pytest.importorskip("mypy.api")
    program = tmp_path / "program.py"
    program.write_text(f"from glu_prune.units import *\nenergy: Joules = {made}\n")
    output, _, status = api.run(
        ["--follow-imports=skip", "--config-file=", "--cache-dir=/dev/null", units.__file__, str(program)]
    )
    assert (status == 0) is accepted, output
