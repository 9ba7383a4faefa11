"""All that is declared of a claim: how it is spelled changes nothing, and when it was declared is kept."""

from datetime import UTC, datetime

import pytest

from glu_prune.experiment.store import Store
from glu_prune.judgement.expectation import read, told_apart
from tests.helpers.verdicts import case, recorded, share
from tests.judgement.test_lengths import Recorded

FILE = """\
model: tiny-base
ratios: [0.3, 0.4, 0.5]
expect:
"""
ENTRY = "- {capability: reading, direction: down, why: because, ratios: RATIOS}\n"


def cases(tmp_path, *entries, name="a.yaml"):
    path = tmp_path / name
    path.write_text(FILE + "".join(ENTRY.replace("RATIOS", ratios) for ratios in entries))
    return read(path)


def test_entries_that_say_the_same_are_one_family(tmp_path):
    one = cases(tmp_path, "[0.3, 0.4, 0.5]")
    three = cases(tmp_path, "[0.5]", "[0.3]", "[0.4]")
    assert {each.tests for each in (*one, *three)} == {3}
    assert len({each.family_digest for each in (*one, *three)}) == 1
    fewer = cases(tmp_path, "[0.5]")
    assert {each.family_digest for each in fewer} != {each.family_digest for each in one}
    assert fewer[0].tests == 1


def test_files_of_one_session_are_one_family(tmp_path):
    first, second = cases(tmp_path, "[0.3]"), cases(tmp_path, "[0.5]", name="b.yaml")
    together = told_apart((*first, *second))
    assert [each.tests for each in together] == [2, 2]
    assert len({each.family_digest for each in together}) == 1


@pytest.mark.parametrize(
    ("since", "told"),
    [
        (None, False),
        ("2025-12-31T00:00:00+00:00", False),
        ("2026-01-01T00:00:00+00:00", False),
        ("2026-02-03T00:00:00+00:00", True),
    ],
)
def test_a_claim_that_came_after_its_answers_says_so(since, told):
    claim = case("up")
    found = claim.judge(Recorded(claim, recorded(share(20)), recorded(share(60)), since))
    said = "declared as it is on 2026-02-03, after the answers were in (2026-01-01)"
    assert (said in found.sentence) == told
    assert found.tables.scores[0].declared_since == since
    assert found.tables.scores[0].family == claim.family_digest


def test_a_store_keeps_when_something_was_declared_first(tmp_path):
    store = Store(tmp_path / "store")
    assert store.declared("ab") is None
    store.declare("ab", {"claim": ("reading", "down")})
    first = store.declared("ab")
    assert datetime.fromisoformat(first) <= datetime.now(UTC)
    path = tmp_path / "store" / "declared" / "ab.json"
    path.write_text(path.read_text().replace(first[:4], "2001"))
    store.declare("ab", {"claim": ("reading", "down")})
    assert store.declared("ab").startswith("2001")
    path.write_text("{}")
    assert store.declared("ab") is None
