"""What was run on real models, and lies in packs, is judged as declared, without these models; the page says just that."""

from collections import Counter

import pytest

from glu_prune.errors import GluPruneError
from tools import replication
from tools.replication import PACKS, PAGE, PUBLISHED, README, judged, page, with_answer


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Of each pack, and of the published figures; raises where a verdict is not the one that is declared."""
    return {name: judged(name, tmp_path_factory.mktemp(name)) for name in (*PACKS, PUBLISHED)}


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_decides_claims(reports, name):
    found = Counter(case.result for case in reports[name].cases)
    assert not found["failed"]
    assert found["passed"] >= 3


def test_there_is_a_pack():
    assert "smollm2-135m-instruct" in PACKS


def test_the_page_is_what_the_packs_say(reports):
    """After a change: `python -m tools.replication`."""
    text, readme = page(reports), README.read_text(encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text
    assert readme == with_answer(readme, text)


def test_a_verdict_that_is_not_declared_is_told(tmp_path, monkeypatch):
    """Judged by the same claims without what is known of them, the same records fail."""
    expectations, name = replication.ROOT / "expectations", PACKS[0]
    claims = (expectations / f"{name}.yaml").read_text(encoding="utf-8")
    claims = claims.replace("calibration: ", f"calibration: {expectations}/")
    kept = [line for line in claims.splitlines() if "verdict:" not in line]
    (tmp_path / "claims.yaml").write_text("\n".join(kept))
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--glu-expectations={tmp_path}")
    with pytest.raises(GluPruneError, match="pytest ended with 1"):
        judged(str(expectations / "evidence" / name), tmp_path / "out")
