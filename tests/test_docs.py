"""The guide to verdicts names everything that there is, and README's options exist."""

import re

from glu_prune.evaluation.null_names import NULLS
from glu_prune.evidence.checks import CHECKS
from glu_prune.judgement.distances import UNITS
from glu_prune.judgement.kinds.trend import Relation
from glu_prune.results.base import Outcome
from tests.helpers import ROOT

GUIDE = "".join((ROOT / "docs" / name).read_text() for name in ("judgement.md", "floors.md", "published.md"))
README = (ROOT / "README.md").read_text()


def test_the_guide_names_every_null_model_check_verdict_relation_and_distance():
    for name in (*NULLS, *CHECKS, *Outcome.__args__, *Relation.__args__, *UNITS):
        assert name in GUIDE, name


def test_the_readme_names_every_option():
    code = (ROOT / "glu_prune" / "options.py").read_text()
    options = set(re.findall(r"\"(--glu-[a-z-]+)\"", code))
    assert {"--glu-model"} < options <= set(re.findall(r"--glu-[a-z-]+", README)), options


def test_every_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
