"""A report as one HTML file, and its figures and tables as files."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from glu_prune.cli import main
from glu_prune.errors import ReportError
from glu_prune.report.page import saved
from glu_prune.report.page.figure import written
from glu_prune.report.page.figures import figures
from glu_prune.report.page.labels import PLACE, apart, point_told
from glu_prune.report.page.saved import save_files, save_page
from glu_prune.results.baselines import BaselineResult
from glu_prune.results.costs import FigureResult
from glu_prune.results.report import Report
from tests.helpers import ROOT, hostile
from tests.helpers.judged import published

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = f"{hostile.MODEL} </script><script>window.broken = 1</script> <img src=x onerror='window.broken = 1'>"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    save_page(published(), path, ["published"])
    return path


def test_the_page_is_one_file_that_fetches_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert len(text) < 5_000_000
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src &#39;none&#39;; script-src &#39;sha256-")
    assert "unsafe" not in policy
    head = re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"<(link|img|iframe|script) [^>]*(src|href)=", head)


def test_every_verdict_stands_in_it(page):
    text = page.read_text(encoding="utf-8")
    assert text.count('data-says="') == len(published().scores) + len(published().costs)
    assert text.count('<li data-verdict="') == text.count('data-says="') + len(published().trends)


def test_figures_say_how_many_items_which_test_and_which_floor():
    found = {each.name: each for each in figures(published())}
    assert {"dose-instruction_following", "knowledge-truth", "cost-joules_per_token"} <= found.keys()
    caption = found["dose-instruction_following"].caption
    for part in ("n = 541", "95 %", "by unpaired z", "corrected for the ratios", "word loop 0.161"):
        assert part in caption
    assert "energy_unit, unequal_lengths" in found["cost-joules_per_token"].caption


def test_an_interval_stands_where_the_change_is():
    rows = next(each for each in figures(published()) if each.name == "dose-last_word").rows
    row = next(row for row in rows if row["kind"] == "model" and row["removed"] == 0.1)
    assert row["low"] < row["score"] < row["high"], "of perplexities, too, whose changes are in nats"


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<svg"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_figures_are_files_with_captions(tmp_path, form, begins):
    report = Report(scores=tuple(row for row in published().scores if row.capability == "arithmetic"))
    assert save_files(report, tmp_path, form) == [f"dose-arithmetic.{form}", "dose-arithmetic.txt"]
    assert (tmp_path / f"dose-arithmetic.{form}").read_bytes().startswith(begins)
    assert "n = " in (tmp_path / "dose-arithmetic.txt").read_text()


def test_names_of_figures_are_no_places_and_end_no_process(tmp_path):
    rows = [
        row.model_copy(update={"capability": f"../{hostile.MODEL}", "model": hostile.MODEL})
        for row in published().scores[:1]
    ]
    names = save_files(Report(scores=tuple(rows)), tmp_path, "svg")
    assert all(re.fullmatch(r"dose-[A-Za-z0-9_-]+\.(svg|txt)", name) for name in names)
    assert {path.name for path in tmp_path.iterdir()} == {*names}


def test_tables_are_files(tmp_path):
    assert {"scores.tex", "findings.tex"} <= {*save_files(published(), tmp_path, "latex")}
    head, rule, names, *_ = (tmp_path / "scores.tex").read_text().splitlines()
    assert (head[:15], rule) == (r"\begin{tabular}", r"\toprule")
    assert r"p, ratios" in names
    save_files(published(), tmp_path, "parquet")
    save_files(published(), tmp_path, "csv")
    parquet, csv = pd.read_parquet(tmp_path / "scores.parquet"), pd.read_csv(tmp_path / "scores.csv")
    assert list(parquet.columns) == list(csv.columns)
    assert parquet["delta"].tolist() == pytest.approx(csv["delta"].tolist())


def test_latex_shows_names_and_obeys_none(tmp_path):
    row = published().findings[0].model_copy(update={"says": r"\input{x} 100% of $a_b$ #1 ~ ^"})
    save_files(Report(findings=(row,)), tmp_path, "latex")
    text = (tmp_path / "findings.tex").read_text()
    assert r"\textbackslash{}input\{x\} 100\% of \$a\_b\$ \#1 \textasciitilde{} \textasciicircum{}" in text


def test_the_command_reads_evidence_and_written_reports(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["report", "published", "--out", str(tmp_path / "one.html")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/one.html: {len(published().cases)} claims of published\n"
    (tmp_path / "report.json").write_text(json.dumps(published().json_row()))
    again = tmp_path / "two.html"
    assert main(["report", str(tmp_path), "published", "--out", str(again)]) == 0
    assert f"meta-llama/Llama-3.2-1B ({tmp_path})" in again.read_text(), "what two sources say of one is told apart"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing"], "'nothing' is neither published, a pack in "),
        (["published", "--out", "x.htm"], "x.htm is not allowed: a page is named *.html"),
        (["bad.json"], "bad.json is no report of a session: "),
        (["absent.json"], "absent.json cannot be read: No such file or directory"),
        (["empty.json", "--format", "svg"], "there is nothing to write as svg: no claim was judged"),
    ],
)
def test_what_cannot_be_shown_is_one_line(tmp_path, capsys, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "expectations").symlink_to(ROOT / "expectations")
    (tmp_path / "bad.json").write_text('{"version": 2}')
    (tmp_path / "empty.json").write_text(json.dumps(Report().json_row()))
    assert main(["report", *arguments]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"glu-prune: {complaint}")
    assert not (tmp_path / "report.html").exists()


def test_without_the_chart_library_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(saved, "find_spec", lambda name: None if name == "altair" else True)
    with pytest.raises(ReportError, match=r"altair is not installed: pip install 'glu-prune\[report\]'"):
        save_page(published(), tmp_path / "x.html", ["x"])


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    driver = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with driver.sync_playwright() as player:
        found = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser, path: Path, **settings: object):
    """The page in a window without a network, and what it complains of."""
    tab = browser.new_context(offline=True, **settings).new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(path.as_uri())
    tab.wait_for_function(
        "[...document.querySelectorAll('.chart')].every((each) => each.dataset.drawn)", timeout=60_000
    )
    return tab, said


@pytest.fixture(scope="module")
def pages(tmp_path_factory, page) -> dict[str, Path]:
    """Pages of published figures, of the packs, and of a session about an embedded model, which has answers."""
    folder = tmp_path_factory.mktemp("pages")
    packs = [str(each.parent) for each in (ROOT / "expectations" / "evidence").glob("*/glu-prune-store.json")]
    expectations = f"--expectations={ROOT / 'expectations'}"
    assert main(["report", *packs, expectations, "--out", str(folder / "replication.html")]) == 0
    session = [sys.executable, "-m", "pytest", "benchmarks", "-k", "tiny-instruct-ratio_0.5", "--glu-limit=40"]
    places = ["--glu-store", folder / "store", "--glu-results", folder, "--glu-report", folder / "embedded.html"]
    subprocess.run([*session, *places], cwd=ROOT, capture_output=True, check=False)
    return {"published": page, **{path.stem: path for path in folder.glob("*.html")}}


@pytest.mark.slow("starts a browser")
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
@pytest.mark.parametrize("name", ["published", "replication", "embedded"])
def test_a_browser_draws_every_figure_and_finds_nothing_wrong(browser, pages, name, width, scheme):
    tab, said = opened(browser, pages[name], viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert tab.locator(".chart svg").count() == tab.locator("figure").count() > 3
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for place in tab.locator("nav a").all():
        place.click()
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe().run(tab)
    assert [each["id"] for each in axe.response["violations"] if each["impact"] in ("serious", "critical")] == []
    assert said == []


@pytest.mark.slow("starts a browser")
def test_changed_answers_are_found_by_what_changed_and_by_words(browser, pages):
    tab, said = opened(browser, pages["embedded"])
    tab.locator("#items-kind").select_option("worse")
    shown = tab.locator("#items-list article")
    count = shown.count()
    assert 0 < count == int(tab.locator("#items-count").inner_text().split()[0])
    assert all(each.startswith("worse") for each in tab.locator("#items-list h3").all_inner_texts())
    tab.locator("#items-text").fill("no such word anywhere")
    assert shown.count() == 0
    assert said == []


@pytest.mark.slow("starts a browser")
def test_the_keyboard_opens_a_verdict_and_filters_claims(browser, page):
    tab, said = opened(browser, page)
    cell = tab.locator(".matrix button").first
    cell.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#cell-says").inner_text() == cell.get_attribute("data-says")
    tab.keyboard.press("Escape")
    assert not tab.locator("#cell").is_visible()
    tab.locator("#filter-text").fill("Llama-3.2-3B at 0.3")
    tab.locator("#filter-verdict").select_option("confirmed")
    wanted = [row for row in published().scores if row.model.endswith("3B") and str(row.ratio) == "0.3"]
    count = sum(row.outcome == "confirmed" for row in wanted)
    assert tab.locator(".claims li:visible").count() >= count > 0
    assert tab.locator("#filter-count").inner_text().startswith(f"{tab.locator('.claims li:visible').count()} of ")
    assert said == []


@pytest.mark.slow("starts a browser")
def test_a_matrix_is_one_stop_of_the_keyboard_and_arrows_go_through_it(browser, page):
    tab, said = opened(browser, page)
    stops = tab.locator(".matrix button[tabindex='0']")
    assert stops.count() == tab.locator(".matrix").count() == len({row.model for row in published().claims})
    stops.first.focus()
    here = "document.activeElement.getAttribute('aria-label')"
    first = tab.evaluate(here)
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate(here) == first.replace("0.1:", "0.4:"), "the next ratio of that model"
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowUp")
    assert tab.evaluate(here) == first, "there is nothing above"
    tab.keyboard.press("ArrowDown")
    second = tab.evaluate(here)
    tab.keyboard.press("Tab")
    tab.keyboard.press("Shift+Tab")
    assert tab.evaluate(here) == second != first
    assert said == []


@pytest.mark.slow("starts a browser")
def test_on_paper_nothing_is_cut(browser, page):
    tab, said = opened(browser, page, viewport={"width": 794, "height": 1123})
    tab.locator("#tables summary").first.click()
    tab.emulate_media(media="print")
    wide = "[...document.querySelectorAll('table')].filter((each) => each.getBoundingClientRect().right > innerWidth)"
    assert tab.evaluate(f"{wide}.length") == 0
    assert tab.locator("#tables details:visible").count() == 1
    assert tab.locator(".filter:visible").count() == 0
    assert said == []


@pytest.mark.slow("starts a browser")
def test_hostile_text_shows_as_text(browser, tmp_path):
    names = {"model": HOSTILE, "capability": HOSTILE, "sentence": HOSTILE, "why": HOSTILE, "note": HOSTILE}
    rows = tuple(row.model_copy(update=names) for row in published().scores[:2])
    findings = (published().findings[0].model_copy(update={"says": HOSTILE, "model": HOSTILE}),)
    save_page(Report(scores=rows, findings=findings), tmp_path / "bad.html", [HOSTILE])
    tab, said = opened(browser, tmp_path / "bad.html")
    assert tab.evaluate("window.broken") is None
    assert "<img src=x onerror=" in tab.locator("h1").inner_text()
    assert said == []


def since(**fields: object) -> BaselineResult:
    """A row about two runs of one arm."""
    row = {
        "model": "m", "against": "before", "arm": "ppm-0.5", "capability": "reading", "task": "t", "metric": "acc",
        "better": "higher", "items": 400, "before": 0.5, "after": 0.4, "delta": -0.1, "low": -0.14, "high": -0.06,
        "p": 0.01, "test": "exact McNemar", "catches": 0.03, "worse": 50, "improved": 10, "worse_items": (),
        "improved_items": (), "band": 0.0, "margin": 0.0, "outcome": "regressed", "note": "", "sentence": "",
    }  # fmt: skip
    return BaselineResult.model_validate({**row, **fields})


def test_two_runs_are_drawn_as_before_and_after():
    lower = {"capability": "text", "better": "lower", "delta": 0.2, "low": 0.1, "high": 0.3}
    none = {"outcome": "missing", "delta": None, "low": None, "high": None, "after": None}
    (figure,) = figures(Report(baseline=(since(), since(**lower), since(arm="dense", **none))))
    reading, text = figure.rows
    assert (reading["low"], reading["change"], reading["high"]) == (-0.14, -0.1, -0.06)
    assert (text["low"], text["change"], text["high"]) == (-0.3, -0.2, -0.1), "right is better"
    assert "since before" in figure.title
    assert "reading, ppm-0.5" in written(figure, "svg")


def test_draws_of_a_control_are_points_beside_their_mean():
    row = next(each for each in published().scores if each.capability == "last_word")
    drawn = row.model_copy(update={"controls": {"random": 20.0, "l2": 9.0}, "draws": {"random": (10.0, 30.0)}})
    (figure,) = figures(Report(scores=(drawn,)))
    kinds = [(each["kind"], each.get("verdict"), each["score"]) for each in figure.rows]
    assert [each for each in kinds if each[0] in ("control", "draw")] == [
        ("control", "random (mean of 2)", 20.0),
        ("draw", None, 10.0),
        ("draw", None, 30.0),
        ("control", "l2", 9.0),
    ]
    assert "circles each of their draws" in figure.caption
    assert written(figure, "svg").count("random (mean of 2)") >= 1


def test_capabilities_stand_against_costs_as_arms_were_paired():
    about = {"model": "m", "arm": "m:ppm", "workload": "w", "figure": "time_per_output_token", "unit": "ms", "n": 8,
             "replicate": None, "how": "host clock"}  # fmt: skip
    measured = [
        FigureResult(**about, ratio=Decimal(ratio), dense=(dense, 0, 0), pruned=(now, 0, 0), change=(percent, 0, 0))
        for ratio, dense, now, percent in (("0.2", 40.0, 38.0, -5.0), ("0.4", 50.0, 40.0, -20.0))
    ]
    row = next(each for each in published().scores if each.capability == "reading")
    scores = tuple(
        row.model_copy(update={"model": "m", "floor": 0.5, "ratio": each.ratio, "at": each.at}) for each in measured
    )
    found = {each.name: each for each in figures(Report(scores=scores, efficiency=measured))}
    front = found["front-time_per_output_token-w"].rows
    assert {row["arm"]: row["cost"] for row in front} == {"dense": 0, "0.2": -5, "0.4": -20}


def test_labels_that_would_cover_each_other_are_moved_up():
    rows = [{"x": 0.1, "y": 0.5}, {"x": 0.1, "y": 0.501}, {"x": 0.4, "y": 0.5}, {"x": 0.0, "y": 0.0}]
    low, high, far, _ = (each[PLACE] for each in apart(rows, "x", "y", (270, 180), 60))
    assert (low, far) == (pytest.approx(0.5), pytest.approx(0.5))
    assert high - low == pytest.approx(0.501 * 13 / 180)


def test_each_source_has_its_own_provenance(tmp_path):
    facts = [("records", "7")], [("records", "9")]
    save_page(published(), tmp_path / "x.html", ["one", "two", "three"], facts=facts)
    said = re.sub(r"\s*<[^>]+>\s*", " ", (tmp_path / "x.html").read_text().split('id="h-provenance"')[1])
    assert "one records 7 two records 9 three Shown by glu-prune" in " ".join(said.split())


def test_a_pack_is_held_against_another(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    pack = ROOT / "expectations" / "evidence" / "gemma-3-270m"
    out = tmp_path / "report.html"
    assert main(["report", "gemma-3-270m", "--against", str(pack), "--out", str(out)]) == 0
    assert "what changed since" in out.read_text(encoding="utf-8")
    capsys.readouterr()
    for source, why in (
        ("baselines/embedded.json", "is a baseline, which has scores and no claims"),
        ("published", "published has no records that could be held against"),
    ):
        against = () if source.startswith("baselines") else ("--against", str(pack))
        assert main(["report", source, *against, "--out", str(out)]) == 1
        assert why in capsys.readouterr().err


def test_a_point_of_which_a_limit_is_open_says_so():
    row = next(each for each in published().scores if each.delta is not None)
    assert "+0.1 (open to open)" in point_told(row.model_copy(update={"delta": 0.1, "low": None, "high": None}))
    assert "(-0.5 to open)" in point_told(row.model_copy(update={"low": -0.5, "high": None}))
