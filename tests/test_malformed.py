"""Files and command lines that are not as they should be: one line that names the file, the documented exit code, no traceback."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glu_prune.cli import main
from glu_prune.errors import ExpectationError, GluPruneError, PlanError
from glu_prune.evidence.checks import examine
from glu_prune.evidence.figures import read_evidence
from glu_prune.judgement.expectation import read
from glu_prune.pruning.plan import PruningPlan
from glu_prune.sources.published import PublishedSource
from tests.helpers import ROOT
from tests.helpers.examples import examples
from tests.helpers.malformed import SHORT, VALUES, complaint, spoilt_bytes, spoilt_json, spoilt_yaml
from tests.helpers.models import llama

REPETITIONS = int(os.environ.get("GLU_MALFORMED", "40"))
"""Spoilt files of each kind; more where they are asked for."""
EVIDENCE = ROOT / "expectations" / "evidence"
FULL = (ROOT / "expectations" / "llama-3.2-1b.yaml").read_text()


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory) -> Iterator[Path]:
    """Where all of it lies, and commands are given; what they write is seen, and goes with it."""
    folder = tmp_path_factory.mktemp("malformed")
    with contextlib.chdir(folder):
        yield folder


@pytest.mark.parametrize("valid", [SHORT, FULL], ids=["short", "full"])
@examples(REPETITIONS)
@given(data=st.data())
def test_expectation_files(place, valid, data):
    path = place / "claims.yaml"
    path.write_bytes(data.draw(spoilt_yaml(valid)))
    try:
        cases = read(path)
    except ExpectationError as error:
        complaint(error, "claims.yaml")
    else:
        assert all(case.id and case.where for case in cases)


HAND_WRITTEN = (
    b"", b"\x00", b"\xff\xfe\x00", b"\xef\xbb\xbf", "model: \u202e".encode("utf-16"), b"[]", b"1", b"~", b"- 1", b"a: 1\na: 2", b"{a: 1, a: 2}", b"? [1]\n: 2",
    b"? {a: 1}\n: 2", b"1: 2", b"null: 1", b"a: !!python/name:os.system x", b"!!python/object/apply:os.system ['false']", b"a: !!int x", b"a: !!float x",
    b"a: !!timestamp x", b"a: 2024-99-99", b"a: !!binary '*'", b"a: !!set {1}", b"a: !!omap [1]", b"a: !x y", b"a: &b 1\nc: *b", b"a: *b", b"a: &a [*a]",
    b"<<: {a: 1}", b"<<: 1", b"m[x]: 1", b"model: {a[x]: 1}", b"a: " + b"9" * 5000, b"seed: 0x" + b"f" * 60_000, b"ratios: [0x" + b"f" * 60_000 + b"]", b"ratios: [1e-999999999]", b"---\n---",
    b"--- a\n--- b", b"%YAML 9.9\n---\na: 1", b"%TAG ! x\n---", b"\t", b"a:\n\t- b", b"'", b'"\\x', b"a: |\n b\n c: d", b"[" * 20_000, b"{a: " * 5000, b"- " * 5000,
)  # fmt: skip


@pytest.mark.parametrize("data", HAND_WRITTEN, ids=lambda data: repr(data[:30]))
def test_expectation_files_by_hand(tmp_path, capsys, data):
    path = tmp_path / "claims.yaml"
    path.write_bytes(data)
    assert main(["doctor", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"glu-prune: {path}")
    assert len(line) < 3000


def bomb() -> str:
    """A billion strings in nine lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (bomb(), "an alias (*) is not allowed here"),
        ("- a\n" * 2_500_000, "more than 256 KiB are not allowed"),
        ("- a\n" * 60_000, "more than 20,000 entries are not allowed"),
        ("[" * 100_000, "nesting deeper than 16 is not allowed"),
        ("- " * 100_000, "nesting deeper than 16 is not allowed"),
        (SHORT.replace("[0.1, 0.5]", str([round(0.001 * n, 3) for n in range(1, 200)])), "at most 100 items"),
        (SHORT + "  - {capability: reading, direction: up, why: x}\n" * 500, "at most 500 items"),
    ],
    ids=["aliases", "10 MB", "entries", "flow", "blocks", "ratios", "claims"],
)
def test_what_is_too_much_is_refused_before_it_is_understood(tmp_path, text, says):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(ExpectationError) as error:
        read(path)
    assert says in str(error.value)
    complaint(error.value, "claims.yaml")


def test_only_the_beginning_of_a_file_is_ever_read(tmp_path):
    path = tmp_path / "claims.yaml"
    path.touch()
    os.truncate(path, 10**12)
    with pytest.raises(ExpectationError, match="more than 256 KiB are not allowed"):
        read(path)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path = tmp_path / "claims.yaml"
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path),
    }[kind]()
    with pytest.raises(ExpectationError, match=r"claims\.yaml: "):
        read(path)


@pytest.fixture(scope="module")
def evidence(place) -> Path:
    """Few rows of every file, so that each is likely to be spoilt."""
    folder = place / "evidence"
    folder.mkdir()
    for path in EVIDENCE.glob("*.csv"):
        (folder / path.name).write_text("".join(path.open().readlines()[:14]))
    return folder


@pytest.mark.parametrize("name", ["scores.csv", "items.csv", "floors.csv", "efficiency_runs.csv"])
@examples(REPETITIONS)
@given(data=st.data())
def test_evidence(evidence, name, data):
    path = evidence / name
    valid = path.read_bytes()
    path.write_bytes(data.draw(spoilt_bytes(valid)))
    try:
        found = read_evidence(evidence)
    except ExpectationError as error:
        complaint(error, name)
    else:
        assert all(finding.says for finding in examine(found.scores, found.runs, found.floors))
    finally:
        path.write_bytes(valid)


FIGURES = ("0", "-0", "1", "-1", "1e308", "-1e308", "1e-308", "5e-324", "0.5", "2", "100", "")


@examples(REPETITIONS // 8)
@given(data=st.data())
def test_cases_on_strange_figures_are_judged_or_refused(place, data):
    folder = place / "judged"
    shutil.copytree(EVIDENCE, folder / "evidence", dirs_exist_ok=True)
    name = data.draw(st.sampled_from(["scores.csv", "floors.csv", "efficiency_runs.csv"]))
    lines = (EVIDENCE / name).read_text().splitlines()
    for index in range(1, len(lines)):
        cells = lines[index].split(",")
        place_of = data.draw(st.integers(0, len(cells) * 4)) if index < 60 else len(cells)
        if 4 <= place_of < len(cells):
            cells[place_of] = data.draw(st.sampled_from(FIGURES))
        lines[index] = ",".join(cells)
    (folder / "evidence" / name).write_text("\n".join(lines) + "\n")
    (folder / "claims.yaml").write_text(FULL)
    source = PublishedSource()
    for case in read(folder / "claims.yaml"):
        try:
            assert case.judge(source).sentence
        except ExpectationError as error:  # about the file
            complaint(error, name)
            return
        except GluPruneError as error:  # about one case
            complaint(error, "")


PLAN = json.loads(PruningPlan("ppm", "ratio 0.5", 0, ()).to_json()) | {
    "blocks": [{"name": f"model.layers.{n}.mlp", "width": 12, "kept": [0, 3, 5], "fingerprint": ""} for n in (0, 1)]
}


@examples(REPETITIONS)
@given(spoilt_json(PLAN).map(lambda data: data.decode("utf-8", "replace")))
@example("[" * 100_000)
@example(json.dumps(PLAN).replace("12", "9" * 5000))
@example(json.dumps(PLAN).replace("12", "1e999"))
@example("null")
def test_plans(text):
    try:
        plan = PruningPlan.from_json(text)
    except PlanError as error:
        complaint(error, "")
    else:
        assert PruningPlan.from_json(plan.to_json()) == plan


@pytest.fixture(scope="module")
def checkpoint(place) -> Path:
    folder = place / "model"
    llama().save_pretrained(folder)
    return folder


def command(arguments: list[str], capsys) -> int:
    """The exit code of a command line that says nothing strange."""
    code = main(arguments)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    if code:
        assert said.err.splitlines()[-1].startswith("glu-prune: "), said.err
        assert len(said.err) < 100_000  # what was given is repeated
    return code


def test_a_plan_that_is_none_is_one_line_that_names_it(checkpoint, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    for text in ("", "[]", "{}", "null", '{"format": 2}', "[" * 100_000, json.dumps(PLAN).replace("0.5", "x")[:-3]):
        plan.write_text(text)
        assert main(["prune", str(checkpoint), "--plan", str(plan), "--out", str(tmp_path / "out")]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert str(plan) in line
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json"}


@examples(REPETITIONS)
@given(data=st.data())
def test_configurations(checkpoint, data, capsys):
    path = checkpoint / "config.json"
    valid = path.read_bytes()
    path.write_bytes(data.draw(spoilt_json(json.loads(valid))))
    try:
        assert command(["plan", str(checkpoint), "--ratio", "0.5"], capsys) in (0, 1)
    finally:
        path.write_bytes(valid)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; at most 10,000 are allowed"),
        ({"architectures": ["pipeline"], "model_type": "x"}, "no usable configuration"),
        ({"auto_map": {"AutoConfig": "evil.Evil"}, "model_type": "x"}, "no usable configuration"),
        ({"hidden_act": "x"}, "cannot be built from its configuration"),
    ],
)
def test_configurations_by_hand(checkpoint, capsys, changed, says):
    path = checkpoint / "config.json"
    valid = path.read_bytes()
    path.write_text(json.dumps({**json.loads(valid), **changed}))
    try:
        assert main(["plan", str(checkpoint), "--ratio", "0.5"]) == 1
    finally:
        path.write_bytes(valid)
    assert says in capsys.readouterr().err


ARGUMENTS = st.sampled_from(
    [*(str(value) for value in VALUES if "\x00" not in str(value)), "--ratio", "--width", "--skip", "--layer-ratio", "--multiple-of", "--expansion-ratio",
     "0.5", "1", "0=0.1", "-1=0.5", "=", "99999999999999999999", "1e400", "-inf", "*", "[", "--revision", "../..", "/dev/null", "--criterion", "os:system"]
)  # fmt: skip


@examples(REPETITIONS)
@given(st.sampled_from(["plan", "doctor", "convert", "prune"]), st.lists(ARGUMENTS, max_size=6))
@example("prune", ["--ratio", "0.5", "--criterion", ":"])
@example("prune", ["--ratio", "0.5", "--criterion", "a.b:c"])
@example("prune", ["--ratio", "0.5", "--criterion", ".a:c"])
@example("plan", ["--ratio", "0.5", "--layer-ratio", f"{'9' * 5000}=0.5"])
@example("plan", ["--width", "9" * 5000])
@example("doctor", ["x" * 10_000])
@example("convert", ["x" * 10_000])
@example("plan", ["--skip", "--5", "--ratio", "0.5"])
@example("plan", ["--ratio", "0.5", "--layer-ratio", "--1=0.5"])
@example("plan", ["--expansion-ratio", "1e-999999999"])
@example("plan", ["--ratio", "1e-999999999"])
def test_command_lines(checkpoint, place, capsys, name, arguments):
    first = [str(checkpoint)] if name in ("plan", "prune") else []
    last = ["--out", str(place / "model")] if name in ("prune", "convert") else []
    if not {"--help", "-h"} & {*arguments}:
        assert command([name, *first, *arguments, *last], capsys) in (0, 1, 2)


@pytest.mark.slow("imports all libraries in a process of its own")
def test_exit_codes_of_real_processes(tmp_path, sessions):
    (tmp_path / "bad.yaml").write_text("model: [")
    (tmp_path / "test_it.py").write_text("def test(glu_case, glu_check): glu_check(glu_case)")
    log = tmp_path / "log"
    for code, start, argument in (
        (2, sessions.command, ("doctor", "bad.yaml")),
        (2, sessions.start, ("--glu-expectations=bad.yaml",)),
        (4, sessions.start, ("--glu-limit=x",)),
    ):
        assert sessions.wait(start(tmp_path, log, *argument)) == code, log.read_text()
        assert "Traceback" not in log.read_text()
