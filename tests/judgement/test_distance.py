"""Claims that a distance is at most so large: how they are read, judged and shown."""

from decimal import Decimal

import numpy as np
import pytest

from glu_prune.errors import EvaluationError, ExpectationError, NotMeasuredError
from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.record import Record
from glu_prune.judgement.conclusion import conclude
from glu_prune.judgement.distances import DistanceVerdict, ItemDistances, flips
from glu_prune.judgement.expectation import read, told_apart
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.explanation import explanation
from glu_prune.judgement.kinds.distance import DistanceCase, DistanceClaim, judge_distance
from glu_prune.judgement.sources import DistanceEvidence
from glu_prune.judgement.verdict import claim_fields
from glu_prune.report.tables import sections, sentences
from glu_prune.results.claims import DistanceResult
from glu_prune.results.report import CaseTables
from glu_prune.sources.published import PublishedSource
from tests.helpers.examples import scaled
from tests.helpers.records import record
from tests.helpers.verdicts import AT_HALF, recorded
from tests.statistics.test_calibration import at_most

HALF = Decimal("0.5")
RATIOS = ("0.1", "0.2", "0.3", "0.4", "0.5")


def case(distance: str, bound: float, *, ratios: int = 1, cluster: str | None = None) -> DistanceCase:
    claim = DistanceClaim(distance=distance, capability="skill", at_most=bound, why="because")
    experiment = Experiment(model="m", ratios=RATIOS[-ratios:], expect=(claim,))
    capability = Capability("skill", "tiny_recall", "acc", "a skill", cluster=cluster)
    return DistanceCase("f.yaml", 1, f"m-ratio_0.5-skill-{distance}", experiment, claim, HALF, capability)


def items(values, weights=None, clusters=None) -> ItemDistances:
    return ItemDistances(list(values), list(weights or [1.0] * len(values)), clusters)


def found(claim: DistanceCase, distances: ItemDistances) -> DistanceVerdict:
    return judge_distance(claim, DistanceEvidence(distances))


def texts(said: list[str], right: int) -> Record:
    return recorded([1.0] * right + [0.0] * (len(said) - right)).model_copy(
        update={"answers": tuple(said), "lengths": (1,) * len(said), "flaws": ((),) * len(said)}
    )


def planted() -> tuple[Record, Record]:
    """Of 400 answers 80 are other ones: 40 lost, 40 gained, so that as many are right."""
    dense = texts([f"answer {place}" for place in range(400)], 200)
    said = [f"another {place}" if 160 <= place < 240 else f"answer {place}" for place in range(400)]
    return dense, texts(said, 200)


def test_flips_show_where_the_accuracy_is_the_same():
    dense, pruned = planted()
    assert dense.metrics["acc"].score == pruned.metrics["acc"].score
    verdict = found(case("flips", 0.05), flips(dense, pruned))
    assert (verdict.outcome, verdict.value, verdict.items) == ("refuted", 0.2, 400)
    assert verdict.low < 0.2 < verdict.high
    assert verdict.p < 1e-6
    assert verdict.sentence.startswith(
        "skill flips at most 0.05: refuted. 0.200 of the answers are other ones (95 % interval 0.162 to 0.243) over 400 "
        "items; exact binomial of more than 0.05 p = "
    )
    assert found(case("flips", 0.25), flips(dense, pruned)).outcome == "confirmed"


def test_wrong_answers_that_are_other_wrong_ones_are_flips():
    dense, pruned = texts(["a", "b", "c"], 1), texts(["a", "x", "c"], 1)
    assert flips(dense, pruned).values == [0.0, 1.0, 0.0]


def test_flips_keep_the_source_that_items_share():
    dense, pruned = (
        each.model_copy(update={"fields": {"subject": (("law",), ("law",), ("art",))}})
        for each in (texts(["a", "b", "c"], 1), texts(["a", "x", "c"], 1))
    )
    assert flips(dense, pruned, "subject").clusters == ("law", "law", "art")
    assert flips(dense, pruned).clusters is None


def test_where_nothing_is_answered_nothing_flips():
    assert flips(record(), record()) is None


@pytest.mark.parametrize(("units", "outcome", "needed"), [(58, "inconclusive", 1), (59, "confirmed", None)])
def test_no_flip_at_all_is_confirmed_by_as_many_items_as_the_rule_of_three_says(units, outcome, needed):
    verdict = found(case("flips", 0.05), items([0.0] * units))
    assert (verdict.value, verdict.low, verdict.outcome, verdict.needed) == (0.0, 0.0, outcome, needed)


@pytest.mark.parametrize(("units", "outcome"), [(4, "inconclusive"), (100, "confirmed")])
def test_predictions_that_are_the_same_are_at_no_distance(units, outcome):
    verdict = found(case("kl", 0.1), items([0.0] * units, range(1, units + 1)))
    assert (verdict.value, verdict.outcome) == (0.0, outcome)


def test_a_divergence_is_a_mean_over_tokens():
    draws = np.random.default_rng(1).gamma(2, 0.05, 200)
    weights = list(range(1, 201))
    verdict = found(case("kl", 0.2), items(draws.tolist(), weights))
    assert verdict.value == pytest.approx(np.average(draws, weights=weights))
    assert (verdict.outcome, verdict.test) == ("confirmed", "bootstrap-t")
    assert "nats per token (95 % interval 0.0" in verdict.sentence
    assert found(case("kl", 0.05), items(draws.tolist(), weights)).outcome == "refuted"


def test_an_open_verdict_says_how_many_more_items_would_decide():
    verdict = found(case("flips", 0.05), items([1.0] * 2 + [0.0] * 78))
    assert verdict.outcome == "inconclusive"
    assert f"about {verdict.needed:,} more items would decide it at 80 % power" in verdict.sentence
    decided = found(case("flips", 0.05), items(([1.0] * 2 + [0.0] * 78) * (1 + -(-verdict.needed // 80))))
    assert decided.outcome == "confirmed"
    skewed = np.random.default_rng(2).exponential(0.1, 40).tolist()
    assert found(case("kl", 0.11), items(skewed)).needed > 0


def test_claims_made_at_several_ratios_are_corrected_for_their_number():
    observed = items([1.0] * 12 + [0.0] * 388)
    once, often = found(case("flips", 0.055), observed), found(case("flips", 0.055, ratios=5), observed)
    assert once.p == often.p
    assert 0.01 < once.p < 0.05
    assert (once.outcome, often.outcome) == ("confirmed", "inconclusive")
    assert "x 5 tests" in often.sentence


def test_items_of_one_source_are_one_observation():
    """Four sources of 100 items, of which one flips whole: by items 0.25 would be known to a few percent."""
    clusters = tuple(str(place // 100) for place in range(400))
    observed = items([1.0] * 100 + [0.0] * 300, clusters=clusters)
    verdict = found(case("flips", 0.3, cluster="subject"), observed)
    assert (verdict.outcome, verdict.test) == ("inconclusive", "bootstrap-t over 4 clusters")
    assert found(case("flips", 0.3), items(observed.values)).outcome == "confirmed"
    many = tuple(str(place // 4) for place in range(400))
    assert found(case("flips", 0.4, cluster="subject"), items(observed.values, clusters=many)).outcome == "confirmed"


def test_the_same_share_stands_beside_the_scores():
    both = planted()
    capability = case("flips", 0.05).capability
    verdict = found(case("flips", 0.05), flips(*both))
    assert explanation("m", AT_HALF, capability, both, (0, 0)).flips == (verdict.value, verdict.low, verdict.high)


def test_values_that_are_not_finite_are_an_error():
    with pytest.raises(EvaluationError, match="finite"):
        found(case("kl", 0.1), items([0.1, float("nan")]))


@pytest.mark.parametrize(
    "distance", ["flips", pytest.param("kl", marks=pytest.mark.slow("resamples hundreds of made-up benchmarks"))]
)
def test_a_distance_at_the_bound_is_rarely_decided(distance):
    """Skewed divergences of texts of 5 to 40 tokens; each way at most 5 %."""
    rng, runs, bound = np.random.default_rng(20240714), scaled(400), 0.1
    outcomes = []
    for _ in range(runs):
        if distance == "flips":
            drawn = items((rng.random(200) < bound).astype(float).tolist())
        else:
            drawn = items(rng.exponential(bound, 200).tolist(), rng.integers(5, 41, 200).tolist())
        outcomes.append(found(case(distance, bound), drawn).outcome)
    for wrong in ("confirmed", "refuted"):
        assert outcomes.count(wrong) / runs <= at_most(0.05, runs)
    assert outcomes.count("inconclusive") < runs, "a test that never decides raises no alarm"


CLAIMS = """\
model: tiny-base
ratios: [0.1, 0.2]
expect:
  - {distance: flips, capability: arithmetic, at_most: 0.05, ratios: [0.1], why: w}
  - {distance: kl, capability: story_modelling, at_most: 0.1, why: w}
"""


def written(folder, text: str = CLAIMS):
    path = folder / "claims.yaml"
    path.write_text(text)
    return path


def test_claims_become_cases(tmp_path):
    cases = read(written(tmp_path))
    assert [each.id for each in cases] == [
        "tiny-base-ratio_0.1-arithmetic-flips",
        "tiny-base-ratio_0.1-story_modelling-kl",
        "tiny-base-ratio_0.2-story_modelling-kl",
    ]
    assert [each.tests for each in cases] == [1, 2, 2]
    assert [[(needed.divergent, len(needed.arms)) for needed in each.requirements()] for each in cases] == [
        [(False, 2)],
        [(True, 2)],
        [(True, 2)],
    ]


def test_a_bound_at_each_ratio_is_one_claim_made_twice(tmp_path):
    text = CLAIMS + "  - {distance: flips, capability: arithmetic, at_most: 0.2, ratios: [0.2], why: w}\n"
    assert [each.tests for each in told_apart(read(written(tmp_path, text)))] == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("capability: arithmetic", "capability: story_modelling", ":4: capability story_modelling is a perplexity, without answers that could flip; use `kl`"),
        ("capability: arithmetic", "capability: arithmetics", ":4: capability 'arithmetics' does not exist; did you mean 'arithmetic'?"),
        ("distance: kl", "distance: l2", ":5: expect.1.distance: it is 'flips' or 'kl' (found 'l2')"),
        ("at_most: 0.05", "at_most: 1", ":4: expect.0: at_most of flips is a share of items, between 0 and 1 (found 1)"),
        ("at_most: 0.1", "at_most: 0", ":5: expect.1.at_most: it is above 0 (found 0)"),
        ("at_most: 0.1", "at_most: .inf", ":5: expect.1.at_most: it is a finite number (found inf)"),
        ("at_most: 0.1, ", "", ":5: expect.1.at_most is missing"),
        ("at_most: 0.1", "at_most: 0.1, direction: down", ":5: expect.1.direction: key 'direction' does not exist. Allowed: why, ratios, arms, against, verdict, distance, capability, at_most"),
        ("ratios: [0.1]", "ratios: [0.3]", ":4: ratio 0.3 is not among the ratios of this file (0.1, 0.2)"),
        ("at_most: 0.1, why: w}\n", "at_most: 0.1, why: w}\n  - {distance: kl, capability: story_modelling, at_most: 0.3, why: w}\n", ":6: tiny-base-ratio_0.1-story_modelling-kl at_most is claimed a second time; the first is in line 5"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line(tmp_path, old, new, complaint):
    assert CLAIMS.count(old) == 1
    path = written(tmp_path, CLAIMS.replace(old, new))
    with pytest.raises(ExpectationError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}{complaint}")
    assert "\n" not in str(error.value)


def test_published_figures_say_nothing_of_single_items(tmp_path):
    claim = case("flips", 0.05)
    with pytest.raises(NotMeasuredError, match="judge it on runs"):
        claim.judge(PublishedSource())


def test_a_table_shows_them():
    claim = case("flips", 0.05, ratios=2)
    verdict = judge_distance(claim, DistanceEvidence(flips(*planted()), note="a quick look"))
    result = DistanceResult.model_validate(
        {
            **claim.about,
            **claim_fields(verdict),
            "ratio": claim.ratio,
            "family": claim.family_digest,
            "declared_since": None,
        }
    )
    report = conclude([CaseTables(distances=(result,))])
    (section,) = sections(report)
    assert section.heading == "m: how far from the dense model"
    (row,) = section.rows
    shown = {column.name: column.show(column.get(row)) for column in section.columns}
    assert shown == {
        "ratio": "0.5", "capability": "skill", "distance": "flips", "items": "400", "value": "0.200", "low": "0.162", "high": "0.243",
        "at most": "0.050", "p": "<0.001", "p, ratios": "<0.001", "p, file": "<0.001", "verdict": "refuted (declared confirmed)", "note": "a quick look",
    }  # fmt: skip
    assert sentences(report) == (f"m, ratio 0.5: {verdict.sentence}",)
