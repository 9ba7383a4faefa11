"""The pages name everything that there is, and nothing that is not."""

import json
import re

from glu_prune.evaluation.capability import SUITES
from glu_prune.evaluation.null_names import NULLS
from glu_prune.evidence.checks import CHECKS
from glu_prune.judgement.distances import UNITS
from glu_prune.judgement.kinds.trend import Relation
from glu_prune.option_list import OPTIONS
from glu_prune.results.base import Outcome
from tests.helpers import ROOT
from tools import reference

GUIDE = "".join((ROOT / "docs" / name).read_text() for name in ("judgement.md", "floors.md", "published.md"))
README = (ROOT / "README.md").read_text()


def test_the_guide_names_every_null_model_check_verdict_relation_and_distance():
    for name in (*NULLS, *CHECKS, *Outcome.__args__, *Relation.__args__, *UNITS):
        assert name in GUIDE, name


def test_every_suite_is_described_with_its_capabilities_and_their_tasks():
    page = (ROOT / "docs" / "expectations.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \| .*? \| (.*) \|$", page, re.MULTILINE))
    assert rows.keys() >= SUITES.keys()
    for name, suite in SUITES.items():
        told = rows[name] + (rows["study"] if "those of `study`" in rows[name] else "")
        assert {*re.findall(r"`(\w+)`", told)} - {"study"} == {*suite}
        assert all(each.task in (told if "(" in told else rows["study"]) for each in suite.values())


def test_the_reference_is_what_the_code_declares():
    """After a change: `python -m tools.reference`."""
    assert (ROOT / "docs" / "options.md").read_text() == reference.page()


def test_options_that_pages_name_exist():
    known = {option.name for option in OPTIONS}
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert {*re.findall(r"--glu-[a-z]+(?:-[a-z]+)*", path.read_text())} <= known, path


def test_the_readme_is_read_in_minutes():
    assert len(README.splitlines()) <= 120


def test_every_page_stands_in_the_menu_and_leads_somewhere():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert {*re.findall(r"^ +- ([a-z0-9-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)} == pages
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / "docs" / page).read_text()):
            assert (ROOT / "docs" / target).exists(), (page, target)


def test_every_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_table_of_layers_is_what_was_measured():
    found, page = json.loads((ROOT / "docs" / "layers.json").read_text()), (ROOT / "docs" / "pruning.md").read_text()
    for ratio, row in found["ratios"].items():
        change, low, high = row["difference"]
        said = f"{row['kl']['alike']:.3f} | {row['kl']['by layer']:.3f} | {change:+.3f} ({low:+.3f} to {high:+.3f})"
        assert re.search(rf"^\| {ratio} \| [\d,]+ \| {re.escape(said)} \|", page, re.MULTILINE)
