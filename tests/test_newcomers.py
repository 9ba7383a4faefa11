"""What somebody meets who has just installed this: answers at once, that fit the terminal, and say what is there."""

import re
import shutil
from pathlib import Path

import pytest

from glu_prune.cli import main
from glu_prune.errors import PlanError
from glu_prune.models.families import recorded
from glu_prune.models.source import locate
from glu_prune.pruning.ratio import parse_ratio
from glu_prune.readiness.data import items
from tests.helpers import ROOT
from tests.helpers.models import llama

CLAIM = "model: {model}\nratios: [0.5]\nexpect:\n  - {{capability: reading, direction: down, why: of this test}}\n"


@pytest.mark.parametrize(
    "value", ["1e999999999", "1e-999999999", "9" * 5000, "1e99999999999999999999", "-1e999999999", 10**400]
)
def test_numbers_of_any_size_are_refused(value):
    with pytest.raises(PlanError, match=r"ratio .* is not allowed"):
        parse_ratio(value)


def test_a_target_that_is_missing_is_told_before_a_model_is_opened(tmp_path, capsys):
    assert main(["plan", str(tmp_path / "nowhere")]) == 1
    assert "exactly one of ratio, expansion_ratio and width must be given" in capsys.readouterr().err


def test_a_new_project_has_no_store_yet(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["store", "ls"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (".glu-prune: there is no store yet; a run makes it\n", "")
    assert list(tmp_path.iterdir()) == []
    assert main(["store", "ls", "--store=elsewhere"]) == 1
    assert "elsewhere" in capsys.readouterr().err


@pytest.mark.parametrize("width", [60, 80, 100, 250])
@pytest.mark.parametrize("command", [["families"], ["criteria"], ["doctor", "claims.yaml"]], ids=lambda each: each[0])
def test_tables_fit_the_terminal(tmp_path, monkeypatch, capsys, command, width):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(width))
    model = tmp_path / "a-folder-of-a-long-name" / "of-a-model"
    llama().save_pretrained(model)
    (tmp_path / "claims.yaml").write_text(CLAIM.format(model=model))
    main(command)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= width


def test_tables_are_a_hundred_columns_wide_where_there_is_no_terminal_and_lose_nothing(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    main(["families"])
    said = capsys.readouterr().out
    assert 60 < max(map(len, said.splitlines())) <= 100
    columns = [match.span() for match in re.finditer("-+", said.splitlines()[3])]
    cells = ["".join(line[slice(*column)].strip() for line in said.splitlines()[4:]) for column in columns]
    for family in recorded().families:
        for text, cell in zip(
            (family.family, family.model, family.status, family.layouts, family.why), cells, strict=True
        ):
            assert re.sub(r"\s", "", text) in re.sub(r"\s", "", cell)


def test_a_doctor_of_all_files_asks_for_nothing_that_a_run_of_them_leaves_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLU_PRUNE_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    shutil.copytree(ROOT / "expectations", tmp_path / "expectations")
    assert main(["doctor"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith("all that is needed is ready")
    assert "left out: meta-llama/Llama-3.2-1B" in said
    assert main(["doctor", "expectations/llama-3.2-1b.yaml"]) == 1
    assert "missing: model meta-llama/Llama-3.2-1B" in " ".join(capsys.readouterr().out.split())


def test_a_sample_that_will_do_is_ready(tmp_path, monkeypatch):
    folder = tmp_path / "musr_sample"
    folder.mkdir()
    for name in ("murder_mysteries", "object_placements", "team_allocation"):
        (folder / f"{name}.jsonl").write_text("{}\n")
    monkeypatch.setenv("GLU_PRUNE_DATA", str(tmp_path))
    found = items("leaderboard_musr")
    assert (found.state, found.detail.endswith("a sample, which will do")) == ("ready", True), found


def test_what_is_compared_is_shown(tmp_path, capsys):
    baseline = ROOT / "baselines" / "embedded.json"
    assert main(["compare", str(baseline), str(baseline)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^unchanged: .*factual_recall \d\.\d+", said, re.MULTILINE)


def test_names_that_act_only_show(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = "a\nb\x1b[31m**@c"
    shutil.copytree(locate("tiny-base").folder, name)
    assert main(["prune", f"./{name}", "--ratio=0.5", "--out", "out\n\x1b[2J"]) == 0
    line, *notes = capsys.readouterr().out.splitlines()
    assert all(note.startswith("note: ") for note in notes)
    assert "a\\nb\\x1b[31m**@c -> out\\n\\x1b[2J: " in line
    card = Path("out\n\x1b[2J", "README.md").read_text()
    assert "\x1b" not in card
    assert "# ./a\\\\nb\\\\x1b\\[31m\\*\\*@<!-- -->c, width-pruned" in card
