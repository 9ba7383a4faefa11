"""What was run on real models, and lies in packs, is judged as declared, without these models; the page says just that."""

import subprocess
import sys
from collections import Counter
from operator import attrgetter

import pytest

from glu_prune.errors import GluPruneError
from glu_prune.results.report import Report
from tools import replication
from tools.replication import PACKS, PAGE, PUBLISHED, README, page, report_of, with_answer


@pytest.fixture(scope="module")
def reports():
    """Of each pack, and of the published figures; raises where a verdict is not the one that is declared."""
    return {name: report_of(name) for name in (*PACKS, PUBLISHED)}


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_decides_claims(reports, name):
    found = Counter(case.result for case in reports[name].cases)
    assert not found["failed"]
    assert found["passed"] >= 2


def test_there_is_a_pack():
    assert "smollm2-135m-instruct" in PACKS


def test_the_page_is_what_the_packs_say(reports):
    """After a change: `python -m tools.replication`."""
    text, readme = page(reports), README.read_text(encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text
    assert readme == with_answer(readme, text)


def test_a_verdict_that_is_not_declared_is_told(tmp_path):
    """Judged by the same claims without what is known of them, the same records fail."""
    expectations, name = replication.ROOT / "expectations", "smollm2-135m-instruct"
    claims = (expectations / f"{name}.yaml").read_text(encoding="utf-8")
    claims = claims.replace("calibration: ", f"calibration: {expectations}/")
    kept = [line for line in claims.splitlines() if "verdict:" not in line]
    (tmp_path / "claims.yaml").write_text("\n".join(kept))
    with pytest.raises(GluPruneError, match=r"\d claims are not as declared: .*claims.yaml:\d+: declared confirmed"):
        report_of(str(expectations / "evidence" / name), tmp_path)


def test_a_session_judges_packs_in_the_same_way(reports, tmp_path):
    command = [sys.executable, "-m", "pytest", "benchmarks", "--glu-evidence", PACKS[0], f"--glu-results={tmp_path}"]
    done = subprocess.run([*command, "-p", "no:cacheprovider"], cwd=replication.ROOT, capture_output=True, check=False)
    assert done.returncode == 0
    session = Report.model_validate_json((tmp_path / "report.json").read_bytes())
    key = attrgetter("model", "ratio", "claim", "capability")
    assert sorted(session.scores, key=key) == sorted(reports[PACKS[0]].scores, key=key)
    ended = {case.case: case.result for case in reports[PACKS[0]].cases}
    assert {case.case: case.result for case in session.cases} == ended
