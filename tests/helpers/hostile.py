"""A user's folder whose every name attacks whoever shows it: the study's figures about a model of that name."""

import csv
from pathlib import Path

import yaml

from tests.helpers import ROOT

MODEL = "::set-output name=a::b\x1b[2J\u202e<script>x</script>|`c`[d](http://e)\n::error::f,##[error]g"
"""Workflow commands, an ANSI escape, a direction override, HTML, Markdown and a line end."""
WORKLOAD = "::warning::\x1b]0;w\x07|<b>"
TESTS = """\
def test_evidence(glu_evidence, glu_check):
    glu_check(glu_evidence)

def test_trend(glu_trend, glu_check):
    glu_check(glu_trend)

def test_efficiency(glu_efficiency, glu_check):
    glu_check(glu_efficiency)

def test_direction(glu_case, glu_check):
    glu_check(glu_case)
"""
_REAL = ("meta-llama/Llama-3.2-1B", "mmlu_latency_b1")


def make(folder: Path) -> Path:
    """Writes tests, claims and evidence into `folder`; half of the claims expect what is not found. Gives the file."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_claims.py").write_text(TESTS)
    evidence = folder / "claims" / "evidence"
    evidence.mkdir(parents=True)
    for path in (ROOT / "expectations" / "evidence").glob("*.csv"):
        with path.open(newline="") as source, (evidence / path.name).open("w", newline="", encoding="utf-8") as out:
            named = dict(zip(_REAL, (MODEL, WORKLOAD), strict=True))
            csv.writer(out).writerows([named.get(cell, cell) for cell in row] for row in csv.reader(source))
    claims = yaml.safe_load((ROOT / "expectations" / "llama-3.2-1b.yaml").read_text())
    for claim in claims["expect"][::2]:
        claim["verdict"] = "refuted"
    for claim in claims["expect"]:
        claim["why"] = f"because {MODEL}"
    file = folder / "claims" / "a,b%: c.yaml"
    file.write_text(yaml.safe_dump({**claims, "model": MODEL, "flaws": [], "ratios": [0.2, 0.4, 0.6]} | {"expect": [
        {**claim, "verdict": claim["verdict"] if claim.get("verdict") == "refuted" else "confirmed"}
        for claim in claims["expect"] if not claim.get("ratios")
    ]}))  # fmt: skip
    return file
