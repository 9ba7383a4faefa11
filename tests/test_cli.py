import contextlib
import csv
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import glu_prune
from glu_prune.cli import main
from glu_prune.experiment.machine import machine
from glu_prune.models import shapes
from glu_prune.models.source import MODELS, embedded_models, load, locate
from glu_prune.pruning.checkpoint import PLAN_FILE
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.width_map import map_widths
from tools.survey import tiny


@pytest.mark.parametrize("width", ["80", "100"])
def test_help_fits_the_window_and_no_summary_is_cut(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", width)
    assert main(["--help"]) == 0
    assert main(["store", "--help"]) == 0
    said = capsys.readouterr().out
    assert "..." not in said.replace("[ARGS]...", "")
    names = re.findall(r"^  ([a-z]+)  +[A-Z]", said, re.MULTILINE)
    assert len(names) > 25
    for name in names:
        with contextlib.suppress(SystemExit):
            main([name, "--help"]) and main(["store", name, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= int(width)


def test_help_names_every_command_and_imports_nothing_heavy():
    code = "import sys; from glu_prune.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    commands = (
        "plan",
        "prune",
        "sensitivity",
        "measure",
        "convert",
        "fetch",
        "shape",
        "init",
        "lint",
        "doctor",
        "prefetch",
        "power",
        "judge",
        "choose",
        "compare",
        "report",
        "comment",
        "card",
        "store",
    )
    named = {line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line}
    assert named == {*commands, "criteria", "families", "models"}


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"glu-prune {version('glu-prune')}\n"


def test_shells_complete_commands(monkeypatch, capsys):
    monkeypatch.setenv("_GLU_PRUNE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "glu-prune pr")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit, match="0"):
        main([])
    assert capsys.readouterr().out.split() == ["prune", "prefetch"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Missing command; see `glu-prune --help`"),
        (["prun"], "No such command 'prun'. Did you mean 'prune'?; see `glu-prune --help`"),
        (["store", "ls", "x"], "x is too much; a store is named by --store DIR; see `glu-prune store ls --help`"),
        (["prune", "tiny-base"], "Missing option '--out'; see `glu-prune prune --help`"),
        (["plan", "tiny-base", "--\x1b[31m"], "No such option: --\\x1b[31m; see `glu-prune plan --help`"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(capsys, arguments, complaint):
    assert main(arguments) == 2
    assert capsys.readouterr() == ("", f"glu-prune: {complaint}\n")


@pytest.mark.parametrize(
    "arguments", [["--ratio", "0.2", "half", "--seed", "1"], ["--ratio", "0.2", "--ratio", "half"], ["--ratio=half"]]
)
def test_measure_takes_several_ratios_after_one_option(capsys, arguments):
    assert main(["measure", "tiny-base", *arguments]) == 1
    assert "ratio 'half' is not allowed" in capsys.readouterr().err


def test_pruning_writes_a_stock_checkpoint(tmp_path: Path, capsys):
    out = tmp_path / "pruned"
    assert main(["prune", "tiny-base", "--ratio", "0.5", "--out", str(out)]) == 0
    assert "keeps 320 of 640 neurons in each of 5 GLU blocks" in capsys.readouterr().out
    assert json.loads((out / "config.json").read_text())["intermediate_size"] == 320
    model = AutoModelForCausalLM.from_pretrained(out)
    expected, _ = load(locate("tiny-base"), "auto", "cpu")
    plan = glu_prune.prune(expected, ratio=0.5, criterion="ppm")
    assert plan == PruningPlan.from_json((out / PLAN_FILE).read_text())
    assert model.dtype == expected.dtype == torch.bfloat16
    pairs = zip(model.state_dict().items(), expected.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
    text = "Question: Where?"
    assert (
        AutoTokenizer.from_pretrained(out)(text).input_ids
        == AutoTokenizer.from_pretrained(locate("tiny-base").folder)(text).input_ids
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["absent-model", "--ratio", "0.5"], "model 'absent-model' is not on this machine"),
        (["tiny-base"], "exactly one of ratio, expansion_ratio and width must be given; found none"),
        (
            ["tiny-base", "--ratio", "0.5", "--width", "9"],
            "exactly one of ratio, expansion_ratio and width must be given",
        ),
        (
            ["tiny-base", "--ratio", "0.5", "--layer-ratio", "0:1"],
            "--layer-ratio '0:1' is not allowed; write LAYER=RATIO",
        ),
        (["tiny-base", "--ratio", "0.5", "--skip", "9"], "9 matches no GLU block; there are layers 0 to 4"),
        (["tiny-base", "--ratio", "0.5", "--multiple-of", "x"], "multiple_of 'x' is not allowed"),
        (
            ["tiny-base", "--ratio", "0.5", "--criterion", "wanda"],
            "give it text with --calibration FILE, or `everyday`",
        ),
        (["tiny-base", "--plan", "absent.json"], "absent.json cannot be read"),
        (["tiny-base", "--ratio", "1.2"], "ratio '1.2' is not allowed; it is the fraction of neurons removed"),
        (
            ["tiny-base", "--ratio", "0.5", "--criterion", "magic"],
            "unknown criterion 'magic'; allowed: flap, l2, maw, ",
        ),
    ],
)
def test_mistakes_give_one_line_and_no_output(tmp_path, capsys, arguments, complaint):
    out = tmp_path / "pruned"
    assert main(["prune", *arguments, "--out", str(out)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("glu-prune: ")
    assert complaint in error
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path, capsys):
    assert main(["prune", "tiny-base", "--ratio", "0.5", "--out", str(tmp_path)]) == 1
    assert "exists; choose another folder or remove it" in capsys.readouterr().err


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    assert main(["prune", "tiny-base", "--ratio", "0.5", "--out", str(tmp_path / "pruned")]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_shape_is_written_with_random_weights(tmp_path, monkeypatch, capsys):
    small = shapes.LlamaShape(
        hidden=64, width=160, layers=2, heads=4, kv_heads=2, head_dim=32, vocabulary=99, tied=True, positions=16384
    )
    monkeypatch.setattr(shapes, "SHAPES", {"small": small})
    out = tmp_path / "out"
    assert main(["shape", "small", "--out", str(out), "--dtype", "float16", "--seed", "3"]) == 0
    assert capsys.readouterr().out == f"small -> {out}: random weights in float16, seed 3\n"
    assert AutoModelForCausalLM.from_pretrained(out).dtype == torch.float16
    for arguments, complaint in [
        (["small", "--out", str(out)], "exists; choose another folder or remove it"),
        (["large", "--out", str(tmp_path / "large")], "shape 'large' is not known; allowed: small"),
        (
            ["small", "--out", str(tmp_path / "b"), "--dtype", "int4"],
            "dtype 'int4' is not allowed; choose one of bfloat16",
        ),
        (
            ["small", "--out", str(tmp_path / "c"), "--tokenizer", "tiny-base"],
            "tiny-base: its tokenizer knows 2048 tokens; a model of this shape has 99",
        ),
    ]:
        assert main(["shape", *arguments]) == 1
        assert complaint in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [out]


def test_a_truncated_checkpoint_is_refused(tmp_path, capsys):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(locate("tiny-base").folder, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert main(["prune", str(broken), "--ratio", "0.5", "--out", str(tmp_path / "out")]) == 1
    assert f"{weights} cannot be read" in capsys.readouterr().err.splitlines()[-1]


def test_models_with_a_name_are_listed(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("GLU_PRUNE_MODELS", str(tmp_path))
    assert main(["models"]) == 0
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[2:]}
    assert tuple(listed) == (*embedded_models(), "smollm2-135m-instruct", "gemma-3-270m")
    assert str(MODELS / "tiny-base") in listed["tiny-base"]
    assert "`glu-prune fetch smollm2-135m-instruct` downloads it (98 MB, Apache-2.0)" in listed["smollm2-135m-instruct"]
    assert "--accept-terms` (those at https://ai.google.dev/gemma/terms)" in listed["gemma-3-270m"]


def test_a_plan_is_a_table_from_the_configuration_alone(tmp_path, capsys):
    (tmp_path / "config.json").write_text((locate("tiny-base").folder / "config.json").read_text())
    assert main(["plan", str(tmp_path), "--expansion-ratio", "2.4", "--skip", "-1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == "model.layers.*.mlp (0-3) 4 160 640 -> 384 4.00 -> 2.40 1,228,800 -> 737,280".split()
    assert lines[3].split()[0] == "model.layers.4.mlp"
    assert lines[4] == "expansion ratio 2.4, without -1"
    assert lines[5] == "LlamaForCausalLM: 2,377,440 -> 1,885,920 parameters (-20.7%), 4.8 MB -> 3.8 MB in bfloat16"


def test_a_plan_file_is_applied_and_a_wrong_one_refused(tmp_path, capsys):
    once, again = tmp_path / "once", tmp_path / "again"
    assert main(["prune", "tiny-base", "--width", "300", "--criterion", "l2", "--out", str(once)]) == 0
    assert main(["prune", "tiny-base", "--plan", str(once / PLAN_FILE), "--out", str(again)]) == 0
    assert (once / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    capsys.readouterr()
    plan = str(once / PLAN_FILE)
    assert main(["prune", "tiny-instruct", "--plan", plan, "--out", str(tmp_path / "other")]) == 1
    assert "the plan is for other weights: those of model.layers.0.mlp differ" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_calibration_text_decides(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("Question: Where?\n\n" + "Once upon a time there was a fox.\n" * 5)
    out = tmp_path / "out"
    arguments = ["prune", "tiny-base", "--ratio", "0.5", "--criterion", "wanda", "--calibration", str(text)]
    assert main([*arguments, "--out", str(out)]) == 0
    assert "wanda at ratio 0.5 keeps 320 of 640" in capsys.readouterr().out
    model, tokenizer = load(locate("tiny-base"), "auto", "cpu")
    lines = [tokenizer(line).input_ids for line in text.read_text().splitlines() if line]
    plan = glu_prune.prune(model, 0.5, "wanda", calibration=lines)
    assert plan == PruningPlan.from_json((out / PLAN_FILE).read_text())


def test_a_part_of_calibration_text_is_drawn_by_the_seed(tmp_path, capsys):
    text = tmp_path / "text.txt"
    lines = ("Question: Where?", "Once upon a time there was a fox.", "Anna lives in Rome.")
    text.write_text("".join(f"{line} {line} {line} {line}\n" for line in lines))
    arguments = ["prune", "tiny-base", "--ratio", "0.5", "--criterion", "flap", "--calibration", str(text)]
    assert main([*arguments, "--calibration-tokens", "3", "--out", str(tmp_path / "x")]) == 1
    assert "calibration by 3 tokens of" in capsys.readouterr().err
    plans = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        assert main([*arguments, "--calibration-tokens", "34", "--seed", seed, "--out", str(out)]) == 0
        plans.append((out / PLAN_FILE).read_text())
    assert plans[0] != plans[1]
    capsys.readouterr()
    assert (
        main(["prune", "tiny-base", "--ratio", "0.5", "--calibration-tokens", "6", "--out", str(tmp_path / "x")]) == 1
    )
    assert "--calibration-tokens is about the text of --calibration FILE; give both" in capsys.readouterr().err
    assert main([*arguments, "--calibration-tokens", "9999", "--out", str(tmp_path / "x")]) == 1
    assert "of the model's tokens, 9,999 were asked for" in capsys.readouterr().err


def test_criteria_are_listed(capsys):
    assert main(["criteria"]) == 0
    shown = capsys.readouterr().out
    assert "ppm, maw" in shown
    assert "||a||_2 * ||d||_1" in shown


@pytest.mark.parametrize(
    ("family", "dtype", "more", "width"),
    [
        ("mixtral", torch.float32, [], 32),
        ("mixtral", torch.bfloat16, [], 32),
        ("olmoe", torch.float32, ["--multiple-of", "3"], 33),
        ("deepseek_v3", torch.float32, [], 20),
        ("deepseek_v3", torch.bfloat16, [], 24),
        ("deepseek_v3", torch.bfloat16, ["--multiple-of", "1"], 20),
    ],
)
def test_experts_run_as_they_are_loaded_by_default_unless_another_width_is_asked_for(
    tmp_path, capsys, family, dtype, more, width
):
    """Of 28 neurons at 0.29, 20 stay, of 44 32: the rows of 16-bit experts are whole 16 bytes at multiples of 8."""
    tiny.build(family).to(dtype).save_pretrained(tmp_path / "dense")
    out, where = tmp_path / "out", str(tmp_path / "dense")
    runs = width % (16 // dtype.itemsize) == 0
    for command in (["plan", where, "--ratio", "0.29"], ["prune", where, "--ratio", "0.29", "--out", str(out)]):
        assert main([*command, *more]) == 0
        said = capsys.readouterr().out
        assert ("experts a multiple of" in said) == (not more)
        assert ("crash transformers' grouped kernels" in said) == (not runs)
    card = (out / "README.md").read_text()
    assert ("experts a multiple of" in card, "crash transformers' grouped" in card) == (not more, not runs)
    model = AutoModelForCausalLM.from_pretrained(out)
    assert {block.width for block in map_widths(model).blocks if block.grouped} == {width}
    with contextlib.nullcontext() if runs else pytest.raises(RuntimeError, match="multiple of 16 bytes"):
        model(torch.tensor([[20, 21, 22]]))


SMALL = ["--rounds", "2", "--window", "0.3", "--batch-size", "1", "--new-tokens", "4", "--prompt-tokens", "8"]


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["figure"]: row for row in csv.DictReader(file)}


@pytest.mark.slow("measures memory in processes that import all libraries")
def test_costs_are_measured_dense_and_pruned(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")  # each row is one line
    out = tmp_path / "tables"
    assert main(["measure", "tiny-base", "--ratio", "0.5", *SMALL, "--processes", "1", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("tiny-base, p8_n4_b1, 2 turns\n")
    assert re.search(r"^figure +dense +ppm-0\.5 +dense again *$", shown, re.MULTILINE)
    change = r"[+-][\d.,]+ \([+-][\d.,]+, ([+-][\d.,]+|open)\)"
    assert re.search(rf"^time_per_output_token +[\d.,]+ ms +{change} +{change} *$", shown, re.MULTILINE)
    assert re.search(r"^joules_per_token +[\d.,]+ J ", shown, re.MULTILINE)
    assert re.search(r"^peak_memory +[\d.,]+ MB ", shown, re.MULTILINE)
    how = {name: row["how"] for name, row in rows_of(out / "efficiency.csv").items()}
    assert re.search(r"(cpu|gpu): (nvml|rapl|counter|sampled|modelled)", how["joules_per_token"])
    assert how["peak_memory"].startswith("resident set; its high-water mark")
    assert f"{machine()}; float32 on cpu; prompts: tokens drawn at random" in shown.splitlines()[-1]
    assert "Student's t" in shown
    found = rows_of(out / "efficiency.csv")
    assert set(found) >= {
        "time_to_first_token",
        "joules_per_token",
        "net_joules_per_token",
        "peak_memory",
        "model_bytes",
    }
    dense, pruned = (float(found["model_bytes"][which]) for which in ("dense", "pruned"))
    assert 0 < pruned < dense
    assert {path.name for path in out.iterdir()} >= {"efficiency.csv", "energy.csv", "report.md", "report.json"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--suite", "study"], "tiny-base holds 256 positions; workload mmlu_latency_b1 needs"),
        (["--device", "nonsense"], "cannot be put on device 'nonsense'"),
    ],
)
def test_what_cannot_be_measured_is_one_line_before_anything_is(capsys, arguments, says):
    assert main(["measure", "tiny-base", *arguments]) == 1
    out, err = capsys.readouterr()
    assert (out, "rounds in" in err) == ("", False)
    assert says in err.splitlines()[-1]


def test_a_suite_has_sizes_of_its_own(capsys):
    assert main(["measure", "tiny-base", "--suite", "embedded", "--new-tokens", "8"]) == 1
    assert capsys.readouterr().err.startswith("glu-prune: --suite has sizes of its own; leave out --batch-size")


@pytest.mark.slow("measures real windows")
def test_a_store_keeps_what_was_measured(tmp_path, capsys):
    arguments = ["measure", "tiny-base", *SMALL, "--processes", "0", "--store", str(tmp_path / "store")]
    assert main(arguments) == 0
    first = capsys.readouterr()
    assert main(arguments) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert ("rounds in" in first.err, "rounds in" in again.err) == (True, False)


@pytest.mark.slow("measures real windows")
def test_widths_are_measured_beside_their_aligned_neighbours(tmp_path, capsys):
    """Of 640 neurons 0.3 leaves 448, seven times 64, and 0.4 leaves 384; 0.45 leaves 352, between 320 and 384."""
    command = ["measure", "tiny-base", "--ratio", "0.3", "0.45", "--aligned", "64", *SMALL, "--processes", "0"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    with (tmp_path / "efficiency.csv").open(newline="") as file:
        assert list(dict.fromkeys(row["ratio"] for row in csv.DictReader(file))) == ["0.3", "0.45", "0.4"]


@pytest.mark.slow("measures real windows")
def test_without_a_ratio_the_dense_model_alone_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")  # each row is one line
    assert main(["measure", "tiny-base", *SMALL, "--processes", "0", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    (line,) = (line for line in shown.splitlines() if line.startswith("time_to_last_token "))
    assert re.fullmatch(r"time_to_last_token +[\d.,]+ ms *", line)
    assert "memory" not in "".join(rows_of(tmp_path / "efficiency.csv"))
    with (tmp_path / "energy.csv").open(newline="") as file:
        assert {row["arm"] for row in csv.DictReader(file)} == {"dense"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["tiny-base", "--ratio", "1.2"], "ratio '1.2' is not allowed; it is the fraction of neurons removed"),
        (["tiny-base", "--ratio", "0.5", "half"], "ratio 'half' is not allowed"),
        (["absent-model"], "model 'absent-model' is not on this machine"),
        (["tiny-base", "--criterion", "magic", "--ratio", "0.5"], "unknown criterion 'magic'"),
        (["tiny-base", "--criterion", "wanda", "--ratio", "0.5"], "criterion"),
        (["tiny-base", "--aligned", "64"], "--aligned 64 is about ratios; name some with --ratio"),
        (["tiny-base", "--ratio", "0.5", "--aligned", "641"], "multiple_of 641 is not allowed for a width of 640"),
        (["tiny-base", "--grid", "Germany"], "codecarbon has no grid 'Germany'; allowed are "),
        (["tiny-base", "--prompt-tokens", "250", "--new-tokens", "32"], "holds 256 positions; workload p250_n32_b1 needs 250 prompt tokens + 32"),
        (["tiny-base", "--prompt-tokens", "0"], "a workload needs at least 1 prompt of 1 token and 1 new token"),
        (["tiny-base", "--batch-size", "0"], "a workload needs at least 1 prompt"),
        (["tiny-base", "--rounds", "1"], "at least 2 rounds; found 1"),
        (["tiny-base", "--window", "0.01"], "at least 0.1 seconds per window; found 0.01"),
        (["tiny-base", "--window", "nan"], "at least 0.1 seconds per window; found nan"),
        (["tiny-base", "--processes", "-1"], "at least 0 processes for memory; found -1"),
    ],
)  # fmt: skip
def test_mistakes_in_measuring_are_one_line(tmp_path, capsys, arguments, complaint):
    assert main(["measure", *arguments, "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (error,) = shown.err.splitlines()
    assert error.startswith("glu-prune: ")
    assert complaint in error
    assert list(tmp_path.iterdir()) == []


def test_tables_that_cannot_be_written_are_told_before_anything_is_measured(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["measure", "tiny-base", *SMALL, "--processes", "0", "--out", str(out)]) == 1
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith(f"glu-prune: {out} cannot be written: ")
    assert (tmp_path / "file").read_text() == "mine"
