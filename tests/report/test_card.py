"""Model cards: what is inherited, what is shown as evidence, and that it is of the checkpoint in the folder alone."""

import json
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from huggingface_hub import EvalResult, ModelCard
from safetensors.torch import load_file, save_file

from glu_prune.api.running import run
from glu_prune.cli import main
from glu_prune.errors import CheckpointError, ReportError
from glu_prune.experiment.cell import Arm, Settings
from glu_prune.experiment.code import SCORING, reached
from glu_prune.judgement.expectation import read
from glu_prune.judgement.two_models import cases_between
from glu_prune.models.source import ModelSource
from glu_prune.pruning.checkpoint import PLAN_FILE
from glu_prune.pruning.disk_model import open_disk_model
from glu_prune.pruning.disk_pruning import rank_on_disk, write_pruned
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.target import Target
from glu_prune.report.card import pruned_card
from glu_prune.report.evidence import SOURCE, judged_as, write_evidence
from glu_prune.report.files import write
from glu_prune.results.report import Report
from glu_prune.sources.rows import _weights
from tests.helpers.commands import environment, glu_prune
from tests.helpers.hub import WritableHub, serving
from tests.helpers.models import llama
from tests.helpers.records import record

FILE = """\
model: tiny-base
ratios: [0.3, 0.5]
controls: [random]
expect:
  - capability: arithmetic
    direction: down
    why: w
"""
TOKEN = "hf_" + "A1b2C3d4E5" * 3


def card(dense: Path, out: Path, name: str = "", target: object = 0.5) -> ModelCard:
    checkpoint = open_disk_model(dense)
    plan = rank_on_disk(checkpoint).plan(target)
    write_pruned(checkpoint, plan, out, card=pruned_card(ModelSource(name or str(dense), dense), checkpoint, plan))
    return ModelCard.load(out / "README.md")


@pytest.fixture
def dense(tmp_path) -> Path:
    llama(width=24, layers=3).save_pretrained(tmp_path / "dense")
    return tmp_path / "dense"


def test_licence_and_base_are_those_of_the_original(dense, tmp_path):
    (dense / "README.md").write_text(
        "---\nlicense: other\nlicense_name: own-terms\nlicense_link: LICENSE\nlanguage: [en, cy]\ntags: [x]\n"
        "model-index: [{name: dense, results: []}]\n---\n# Dense\n"
    )
    (dense / "LICENSE").write_text("terms")
    data = card(dense, tmp_path / "out", "someone/dense").data
    assert (data.license, data.license_name, data.license_link) == ("other", "own-terms", "LICENSE")
    assert (tmp_path / "out" / "LICENSE").read_text() == "terms"
    assert (data.base_model, data.language, data.pipeline_tag) == ("someone/dense", ["en", "cy"], "text-generation")
    assert (data.library_name, data.tags) == ("transformers", ["pruned", "glu-prune"])
    assert data.eval_results is None  # those of the original are not its own


def test_a_folder_is_no_base_on_the_hub_and_a_licence_may_be_in_its_configuration(dense, tmp_path):
    said = json.loads((dense / "config.json").read_text())
    (dense / "config.json").write_text(json.dumps({**said, "license": "mit"}))
    (dense / "README.md").write_text("---\nlicense: [unclosed\n---\n")
    data = card(dense, tmp_path / "out").data
    assert (data.base_model, data.license) == (None, "mit")


def test_what_is_fetched_has_the_licence_that_is_known_of_it(dense, tmp_path):
    assert card(dense, tmp_path / "free", "smollm2-135m-instruct").data.license == "apache-2.0"
    data = card(dense, tmp_path / "terms", "gemma-3-270m").data
    assert (data.license, data.license_name) == ("other", "Gemma Terms of Use")
    assert data.license_link.startswith("https://")


def test_unequal_widths_name_the_library_that_loads_them_and_the_plan_is_named(dense, tmp_path):
    found = card(dense, tmp_path / "out", target=Target.of(0.5, skip=[0]))
    plan = PruningPlan.read(tmp_path / "out" / PLAN_FILE)
    assert found.data.library_name == "glu-prune"
    assert f"`{plan.fingerprint}`" in found.text
    assert "is not known from this card" in found.text
    other = replace(plan, blocks=(replace(plan.blocks[0], checksum="other dtype"), *plan.blocks[1:]))
    assert other.fingerprint == plan.fingerprint
    fewer = replace(plan, blocks=(replace(plan.blocks[0], kept=plan.blocks[0].kept[1:]), *plan.blocks[1:]))
    assert fewer.fingerprint != plan.fingerprint


def test_cards_are_no_part_of_the_code_that_scores():
    assert not {"glu_prune.report.card", "glu_prune.report.evidence"} & reached(SCORING)


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Path:
    """A folder with `pruned`, the cut at 0.5 that a session judged too, and the results of that session."""
    folder = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["prune", "tiny-base", "--ratio", "0.5", "--out", "pruned"]) == 0
        Path("claims.yaml").write_text(FILE)
        write(run(read(Path("claims.yaml")), Settings(), Path("store"), 12), Path("results"))
        write(
            run(cases_between("pruned", "tiny-base", ["arithmetic"], 0.05, chat=False), Settings(), Path("store"), 12),
            Path("own"),
        )
    return folder


@pytest.fixture
def here(judged, tmp_path, monkeypatch) -> Path:
    """The same in a folder of the test's own."""
    shutil.copytree(judged, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def report(name: str) -> Report:
    return Report.model_validate_json(Path(name, "report.json").read_text())


@pytest.mark.parametrize(("results", "arm"), [("results", "ppm-0.5"), ("own", "pruned")])
def test_evidence_is_of_the_arm_that_is_in_the_folder(here, capsys, results, arm):
    assert main(["card", "pruned", "--from", results]) == 0
    assert f"{arm} (tiny-base), 1 tasks" in capsys.readouterr().out
    (cell,) = (each for each in report(results).cells if each.arm == arm)
    others = {each.scores["exact_match"].score for each in report(results).cells if each.arm != arm}
    found = ModelCard.load("pruned/README.md")
    (entry,) = found.data.eval_results
    assert entry.metric_value == cell.scores["exact_match"].score
    assert entry.metric_value not in others
    assert (entry.dataset_type, entry.metric_type, entry.source_name) == ("tiny_arithmetic", "exact_match", SOURCE)
    assert entry.metric_args["items"] == 12
    assert found.data.model_name == "pruned"
    rows = [line for line in found.text.splitlines() if "| arithmetic " in line and "exact_match" in line]
    assert len(rows) == 1
    assert rows[0].startswith(f"| {'0.5' if results == 'results' else 'pruned'} ")
    assert "is not known from this card" not in found.text


def test_a_card_is_brought_up_to_date_and_keeps_what_others_wrote(here):
    first = ModelCard.load("pruned/README.md")
    first.text += "\nMine.\n"
    theirs = EvalResult("text-generation", "a/b", "b", "acc", 0.5, source_name="another", source_url="https://a.b")
    first.data.model_name, first.data.eval_results, first.data.extra = "small", [theirs], "kept"
    first.save("pruned/README.md")
    write_evidence(Path("pruned"), report("own"))
    once = Path("pruned/README.md").read_text()
    write_evidence(Path("pruned"), report("own"))
    assert Path("pruned/README.md").read_text() == once
    again = ModelCard(once)
    assert [each.source_name for each in again.data.eval_results] == ["another", SOURCE]
    assert (again.data.model_name, again.data.extra) == ("small", "kept")
    assert (
        again.text.count("## Evidence")
        == again.text.count("Mine.")
        == again.text.count("# tiny-base, width-pruned")
        == 1
    )


def test_a_folder_without_a_card_gets_one(here):
    Path("pruned/README.md").unlink()
    write_evidence(Path("pruned"), report("own"))
    assert ModelCard.load("pruned/README.md").text.startswith("# pruned\n")
    Path("pruned/README.md").write_text("---\n- no mapping\n---\n")
    with pytest.raises(
        ReportError, match=r"pruned/README.md cannot be read as a model card: ValueError: .* mend the YAML"
    ):
        write_evidence(Path("pruned"), report("own"))


def test_what_another_model_scored_is_never_taken(here, capsys):
    before = Path("pruned/README.md").read_text()
    assert main(["prune", "tiny-base", "--ratio", "0.4", "--out", "other"]) == 0
    for folder, results in (("other", "results"), ("other", "own")):
        assert main(["card", folder, "--from", results]) == 1
        assert f"nothing in it is about {folder}: it did not answer itself" in capsys.readouterr().err
    # trained since: the plan is the same, and the weights are others; `own` is about what was in the folder before
    weights = load_file("pruned/model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, "pruned/model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"is not what its plan leaves of .*: model.norm.weight differs"):
        judged_as(Path("pruned"), report("results"))
    with pytest.raises(ReportError, match="nothing in it is about pruned"):
        judged_as(Path("pruned"), report("own"))
    assert Path("pruned/README.md").read_text() == before


def test_another_dense_model_of_the_same_name_is_told(here):
    found = report("results")
    cells = tuple(cell.model_copy(update={"weights": "0" * 64}) for cell in found.cells)
    with pytest.raises(ReportError, match="the tiny-base that is here is not the one that answered"):
        judged_as(Path("pruned"), found.model_copy(update={"cells": cells}))


def test_rows_that_may_be_of_another_pruning_are_refused(here):
    found = report("results")
    (mine,) = (cell for cell in found.cells if cell.arm == "ppm-0.5")
    size = mine.size.model_copy(update={"plan": "1" * 64})
    both = (*found.cells, mine.model_copy(update={"arm": "l2-0.5", "size": size}))
    with pytest.raises(ReportError, match=r"two prunings in it are called tiny-base at 0.5.*l2-0.5 is another"):
        write_evidence(Path("pruned"), found.model_copy(update={"cells": both}))


def test_records_that_do_not_tell_what_answered_name_no_weights():
    stored = record()
    cut = stored.model_copy(update={"size": stored.size.model_copy(update={"plan": "p"})})
    arm = Arm("ppm", Decimal("0.5"))
    assert _weights(Arm(), stored) == _weights(Arm(checkpoint="x"), stored) == _weights(arm, cut) == stored.weights
    assert _weights(arm, stored) == ""  # of an earlier version
    assert _weights(replace(arm, adapter=Path("a")), cut) == ""


def test_what_is_to_be_done_is_said(here, capsys):
    for arguments in (
        ["card", "pruned"],
        ["card", "pruned", "--from", "own", "--public"],
        ["card", "nothing", "--from", "own"],
    ):
        assert main(arguments) in (1, 2)
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow("starts commands one after another, as the hub's client reads where it is on import")
def test_a_folder_arrives_at_the_hub_as_it_is(here, tmp_path):
    with serving(WritableHub(TOKEN)) as hub:
        env = environment(tmp_path, HF_ENDPOINT=hub.url)
        refused = glu_prune("card", "pruned", "--push-to-hub", "someone/small", where=here, env=env)
        assert (refused.returncode, hub.asked) == (1, [])
        assert refused.stderr.startswith("glu-prune: nobody is logged in to the hub; `hf auth login`")
        done = glu_prune(
            "card",
            "pruned",
            "--from",
            "own",
            "--push-to-hub",
            "someone/small",
            where=here,
            env={**env, "HF_TOKEN": TOKEN},
        )
        assert done.returncode == 0, done.stderr
        assert f"pruned is at {hub.url}/someone/small/commit/" in done.stdout
        assert hub.files == {path.name: path.read_bytes() for path in (here / "pruned").iterdir()}
        assert b"model-index:" in hub.files["README.md"]
        assert hub.private is True
        assert any(line.startswith("POST /api/validate-yaml") for line in hub.asked)
        wrong = glu_prune(
            "card", "pruned", "--push-to-hub", "someone/small", where=here, env={**env, "HF_TOKEN": f"{TOKEN}x"}
        )
        assert (wrong.returncode, wrong.stderr.count("glu-prune: someone/small was not written: ")) == (1, 1)
        for shown in (done, wrong):
            assert TOKEN not in shown.stdout + shown.stderr
    with serving(WritableHub(TOKEN, private=False)) as hub:
        env = environment(tmp_path, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
        seen = glu_prune("card", "pruned", "--push-to-hub", "someone/small", where=here, env=env)
        assert (seen.returncode, hub.files) == (1, {})
        assert "someone/small is there, and everyone sees it; say --public" in seen.stderr
        assert (
            glu_prune("card", "pruned", "--push-to-hub", "someone/small", "--public", where=here, env=env).returncode
            == 0
        )
        assert hub.files.keys() == {path.name for path in (here / "pruned").iterdir()}
