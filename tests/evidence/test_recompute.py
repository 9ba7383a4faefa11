"""Energy per token, recomputed: exact on runs that are made up, and by hand on the study's."""

from decimal import Decimal

import pytest

from glu_prune.evidence.checks import examine
from glu_prune.evidence.figures import Run, read_evidence
from glu_prune.evidence.recompute import recompute
from glu_prune.results.costs import RecomputedEnergy
from glu_prune.results.findings import Finding
from tests.helpers import ROOT

SMALL, LARGE = "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B"
KWH = {"codecarbon_gpu_kwh": 2e-4, "codecarbon_cpu_kwh": 1e-4, "codecarbon_total_kwh": 4e-4}
"""720 J, 360 J and 1440 J."""


def run(seed: int = 0, ratio: str = "0", workload: str = "w", new_tokens: float = 360, **figures: float) -> Run:
    return Run.of_columns("m", Decimal(ratio), seed, workload, {"new_tokens": new_tokens, **(figures or KWH)})


def spoilt(*names: str) -> Finding:
    return Finding(check="energy_unit", model="m", subject=names[0], says="says", spoils=frozenset(names))


def joules(*runs: Run, findings: tuple[Finding, ...] = ()) -> dict[str, float]:
    (found,) = recompute(runs, findings)
    return dict(found.joules)


def test_each_channel_is_joules_over_new_tokens():
    assert joules(run()) == pytest.approx({"gpu": 2.0, "cpu": 1.0, "total": 4.0, "rest": 1.0})


def test_energies_may_be_in_other_units():
    assert joules(run(energy_gpu_joules=720.0, cpu_j=36.0)) == pytest.approx({"gpu": 2.0, "cpu": 0.1})


def test_runs_of_one_workload_and_ratio_are_averaged_run_by_run():
    runs = [run(), run(1, new_tokens=720), run(ratio="0.5", new_tokens=90), run(workload="v")]
    found = list(recompute(runs, ()))
    assert [(each.workload, each.ratio, each.runs) for each in found] == [
        ("w", Decimal(0), 2), ("w", Decimal("0.5"), 1), ("v", Decimal(0), 1),
    ]  # fmt: skip
    assert [each.joules["gpu"] for each in found] == pytest.approx([1.5, 8.0, 2.0])


def test_nothing_rests_where_every_channel_is_known():
    assert joules(run(**KWH, codecarbon_ram_kwh=1e-4)) == pytest.approx(
        {"gpu": 2.0, "cpu": 1.0, "ram": 1.0, "total": 4.0}
    )


def test_a_channel_that_only_some_runs_have_is_left_out():
    assert set(joules(run(), run(1, codecarbon_gpu_kwh=2e-4))) == {"gpu"}


def test_what_is_no_energy_is_not_used():
    assert joules(run(), findings=(spoilt("codecarbon_gpu_kwh"),)) == pytest.approx(
        {"cpu": 1.0, "total": 4.0, "rest": 3.0}
    )
    assert "rest" not in joules(run(), findings=(spoilt("codecarbon_total_kwh"),))


def test_unequal_lengths_spoil_no_energy_for_what_it_is():
    unequal = Finding(
        check="unequal_lengths", model="m", subject="w", says="says", spoils=frozenset(KWH), workloads=("w",)
    )
    assert "gpu" in joules(run(), findings=(unequal,))


@pytest.mark.parametrize(
    "figures",
    [{"ttft_ms": 3.0}, {"reported_energy_raw_kwh": 1e-4}, {"gpu_watts": 3.0}, {"new_tokens": 0.0, **KWH}],
)
def test_runs_without_channels_or_tokens_give_nothing(figures):
    assert list(recompute([run(**figures)], ())) == []


@pytest.fixture(scope="module")
def study() -> dict[tuple[str, str, Decimal], RecomputedEnergy]:
    evidence = read_evidence(ROOT / "expectations" / "evidence")
    found = recompute(evidence.runs, examine(runs=evidence.runs))
    return {(each.model, each.workload, each.ratio): each for each in found}


def test_the_study_has_channels_of_its_small_model_alone(study):
    assert {model for model, _, _ in study} == {SMALL}
    assert len(study) == 6 * 7
    assert {tuple(each.joules) for each in study.values()} == {("gpu", "cpu", "total", "rest")}
    assert {each.runs for each in study.values()} == {3}


def test_one_value_of_the_study_by_hand(study):
    """Three runs of single HellaSwag prompts on the dense model, their cells copied from the file."""
    found = study[SMALL, "hellaswag_latency_b1", Decimal(0)].joules
    tokens = (475, 451, 570)
    gpu = (0.00020832016665599988, 0.00018582181532400023, 0.00023655380035400055)
    cpu = (0.0001711613709729153, 0.00012086122245139099, 0.00015372862668194557)
    total = (0.0004600045729011365, 0.00036353735983094747, 0.0004626053107581697)
    for channel, kwh in (("gpu", gpu), ("cpu", cpu), ("total", total)):
        assert found[channel] == pytest.approx(sum(3_600_000 * e / n for e, n in zip(kwh, tokens, strict=True)) / 3)
    assert found["gpu"] == pytest.approx(1.519, abs=0.001)
    assert found["rest"] == pytest.approx(found["total"] - found["gpu"] - found["cpu"])


def test_what_the_study_reported_as_energy_is_a_third_of_what_it_measured(study):
    """At 0.35 kg of CO2 per kWh: the reported column is spoilt, and nothing here comes from it."""
    evidence = read_evidence(ROOT / "expectations" / "evidence")
    assert any("reported_energy_raw_kwh" in finding.spoils for finding in examine(runs=evidence.runs))
    for (model, workload, ratio), found in study.items():
        mine = [r for r in evidence.runs if (r.model, r.workload, r.ratio) == (model, workload, ratio)]
        joules = [each.energies["reported_energy_raw_kwh"].joules / each.figures["new_tokens"] for each in mine]
        reported = sum(joules) / len(mine)
        assert reported / found.joules["total"] == pytest.approx(0.349226, rel=1e-4)
