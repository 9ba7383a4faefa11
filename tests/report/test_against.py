"""What `compare` and sessions say of two runs."""

from glu_prune.report.against import text
from glu_prune.results.baselines import BaselineResult

ROW = BaselineResult(
    model="small", against="before.json", arm="ppm-0.1", capability="reading", task="boolq", metric="acc",
    better="higher", items=500, before=0.6, after=0.5, delta=-0.1, low=-0.15, high=-0.05, p=0.001, test="exact",
    catches=0.04, worse=60, improved=10, worse_items=tuple(f"{n:08x} (#{n})" for n in range(60)),
    improved_items=("00000099 (#99)",), band=0.0, margin=0.0, outcome="regressed", note="", sentence="",
)  # fmt: skip
GONE = {"delta": None, "low": None, "high": None, "p": None, "worse": None, "improved": None, "after": None}


def said(*changes: dict[str, object], monkeypatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    found = text([ROW.model_copy(update=change) for change in changes]).splitlines()
    assert max(map(len, found)) <= 80
    return found


def test_the_worst_arm_comes_first_and_what_is_unchanged_is_named_with_its_score(monkeypatch):
    found = said(
        {"arm": "dense", "outcome": "improved", "delta": 0.1},
        {"outcome": "unchanged", "capability": "recall", "before": 0.25, "delta": 0.0},
        {},
        monkeypatch=monkeypatch,
    )
    rules = [line for line in found if line.startswith("──")]
    assert [rule.split()[2] for rule in rules] == ["ppm-0.1", "dense"]
    assert found[0] == "Against before.json: 1 improved, 1 unchanged, 1 regressed."
    assert "unchanged: recall 0.250" in found
    assert sum(line.startswith("outcome") for line in found) == 1


def test_a_change_names_three_items_of_each_direction_and_what_would_be_found(monkeypatch):
    _, _, line, *below = said({}, monkeypatch=monkeypatch)[1:-3]
    assert line.split() == [
        "✗",
        "regressed",
        "reading",
        "0.600",
        "->",
        "0.500",
        "-0.100",
        "(-0.150,",
        "-0.050)",
        "0.001",
    ]
    told = " ".join(" ".join(below).split())
    assert told == (
        "500 items, of which 60 worse: 00000000 (#0), 00000001 (#1), 00000002 (#2) .., 10 better: 00000099 (#99); "
        "would find a loss of 0.040"
    )


def test_what_is_missing_or_incomparable_for_one_reason_is_named_together(monkeypatch):
    missing = [{**GONE, "outcome": "missing", "capability": name, "note": "there is none now"} for name in "abc"]
    other = [{**GONE, "outcome": "incomparable", "capability": name, "note": "other items"} for name in "de"]
    found = said(*missing, *other, monkeypatch=monkeypatch)
    assert "missing: a 0.600, b 0.600, c 0.600" in found
    assert "incomparable: d 0.600, e 0.600 (other items)" in found
