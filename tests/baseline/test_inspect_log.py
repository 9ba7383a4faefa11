"""Logs of inspect-ai: real ones, and what may be wrong with one."""

import json
import math
import struct
import zipfile
from pathlib import Path

import pytest

from glu_prune.baseline import zipped
from glu_prune.baseline.compare import compare, paired
from glu_prune.baseline.sources import outcomes
from glu_prune.cli import main
from glu_prune.errors import BaselineError
from tests.helpers.harness_logs import DENSE, PART, PRUNED, inspect_log, rewritten

RECALLS = inspect_log(DENSE, "recalls")


def of(place: Path) -> dict:
    return {each.about.capability: each for each in outcomes(place)}


def edited(
    tmp_path: Path, change=lambda sample: sample, header=lambda header: header, name="log.eval", log=RECALLS
) -> Path:
    """A log, that of recalls unless told otherwise, with other samples or another header; a sample that becomes None is left out."""

    def changed(part: str, content: bytes) -> bytes | None:
        if part == "header.json":
            return json.dumps(header(json.loads(content))).encode()
        if not part.startswith("samples/"):
            return content
        found = change(json.loads(content))
        return None if found is None else json.dumps(found).encode()

    return rewritten(log, tmp_path / name, changed)


def scored(value) -> dict:
    """A change of samples: the first two give `value` by `graded`."""

    def change(sample: dict) -> dict:
        if sample["id"] in ("fact-0", "fact-1"):
            sample["scores"]["graded"]["value"] = value
        return sample

    return change


def test_each_score_is_that_which_inspect_reports():
    """Its own aggregates stand in the header of the log, which is not where the scores are read from."""
    found = of(DENSE)
    assert set(found) == {
        "recalls/exact", "recalls/graded", "recalls/counted/letters", "recalls/counted/words", "additions/exact",
    }  # fmt: skip
    for path in DENSE.iterdir():
        header = json.loads(zipped.Archive(path).read("header.json"))
        for score in header["results"]["scores"]:
            name = score["name"] if score["name"] == score["scorer"] else f"{score['scorer']}/{score['name']}"
            reported = next(each["value"] for kind, each in score["metrics"].items() if kind in ("mean", "accuracy"))
            about = found[f"{header['eval']['task']}/{name}"].about
            assert about.score == pytest.approx(reported)
            assert about.n == score["scored_samples"]


def test_two_runs_are_compared_item_by_item(capsys):
    assert main(["compare", str(DENSE), str(PRUNED)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "2 not shown, 1 unchanged, 2 regressed" in said
    assert "✗ regressed recalls/exact 0.917 -> 0.000" in said
    assert "12 items, of which 11 worse" in said
    assert "note: a log of inspect-ai says neither which way a score is better" in said
    found = {each.about.capability: each for each in compare(paired(outcomes(DENSE), outcomes(PRUNED)))}
    assert found["recalls/exact"].change.test == "exact McNemar"
    assert found["recalls/exact"].change.p == pytest.approx(2 * 0.5**11)  # eleven items, all of them worse


def test_epochs_are_a_mean_per_item():
    """Of items that were asked twice, with answers that are drawn."""
    found = of(inspect_log(DENSE, "additions"))["additions/exact"]
    archive = zipped.Archive(inspect_log(DENSE, "additions"))
    reduced = json.loads(archive.read("reductions.json"))[0]["samples"]
    assert len(found.items) == len(reduced) < sum(name.startswith("samples/") for name in archive.names)
    assert list(found.values) == [each["value"] for each in sorted(reduced, key=lambda each: each["sample_id"])]
    assert found.about.settings["epochs"] == 2


def test_an_item_that_is_right_in_one_epoch_of_two_is_half_right(tmp_path):
    def wrong_at_last(sample: dict) -> dict:
        if sample["epoch"] == 2:
            sample["scores"]["exact"]["value"] = "I"
        return sample

    found = of(edited(tmp_path, wrong_at_last, log=inspect_log(DENSE, "additions")))["additions/exact"]
    assert found.values == (0.5, 0.5, 0.5, 0.5)


def test_json_and_eval_files_say_the_same():
    """The JSON is the log of a run of the first two items."""
    part, whole = of(PART), of(inspect_log(PRUNED, "recalls"))
    assert set(part) == set(whole)
    for name, each in part.items():
        assert set(each.items) < set(whole[name].items)
        assert each.values == tuple(whole[name].values[whole[name].place[item]] for item in each.items)


def test_items_that_do_not_meet_are_incomparable(capsys):
    assert main(["compare", str(inspect_log(PRUNED, "recalls")), str(PART), "--fail-on", "incomparable"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing can be compared" in line
    assert "10 items only before, 0 only now (of 12 before and 2 now)" in line


def test_other_tasks_cannot_be_compared(capsys):
    assert main(["compare", str(inspect_log(DENSE, "recalls")), str(inspect_log(PRUNED, "additions"))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing can be compared" in line
    assert "there was none before" in line


def test_an_item_is_known_by_its_content_whatever_its_id_is(tmp_path):
    def renumbered(sample: dict) -> dict:
        return {**sample, "id": 100 - int(sample["id"].removeprefix("fact-"))}

    found = compare(paired(outcomes(RECALLS), outcomes(edited(tmp_path, renumbered))))
    assert {each.outcome for each in found} == {"unchanged"}


def test_messages_are_the_same_whatever_their_ids_in_a_run_are(tmp_path):
    def asked(name: str):
        def change(sample: dict) -> dict:
            message = {"id": f"{name}{sample['id']}", "role": "user", "content": sample["input"]}
            return {**sample, "input": [message]}

        return edited(tmp_path, change, name=f"{name}.eval")

    assert of(asked("one"))["recalls/exact"].items == of(asked("two"))["recalls/exact"].items
    assert of(asked("one"))["recalls/exact"].items != of(RECALLS)["recalls/exact"].items


def test_the_same_document_twice_is_two_items(tmp_path):
    def alike(sample: dict) -> dict:
        return {**sample, "input": "?", "target": "!"}

    assert len(set(of(edited(tmp_path, alike))["recalls/exact"].items)) == 12


@pytest.mark.parametrize(
    ("value", "score"),
    [
        ("C", 1),
        ("P", 0.5),
        ("I", 0),
        ("N", 0),
        ("yes", 1),
        ("FALSE", 0),
        ("0.25", 0.25),
        (True, 1),
        (3, 3),
        ("who knows", 0),
    ],
)
def test_a_value_counts_as_inspect_counts_it(tmp_path, value, score):
    found = of(edited(tmp_path, scored(value)))["recalls/graded"]
    assert found.values[:2] == (score, score)
    assert found.about.n == 12


@pytest.mark.parametrize("value", [None, math.nan])
def test_an_item_without_a_score_is_none_of_its_scorer(tmp_path, value):
    found = of(edited(tmp_path, scored(value)))
    assert found["recalls/graded"].about.n == 10
    assert found["recalls/exact"].about.n == 12


def test_several_values_are_several_scores(tmp_path):
    found = of(edited(tmp_path, scored([0.5, "C"])))
    assert found["recalls/graded/0"].values == (0.5, 0.5)
    assert found["recalls/graded/1"].values == (1, 1)


def test_a_scorer_of_texts_alone_is_left_out(tmp_path):
    def said(sample: dict) -> dict:
        sample["scores"]["graded"]["value"] = "polite"
        return sample

    assert "recalls/graded" not in of(edited(tmp_path, said))
    assert "recalls/exact" in of(edited(tmp_path, said))


def test_other_solvers_are_another_question(tmp_path):
    def other(header: dict) -> dict:
        header["plan"]["steps"][0]["params_passed"]["template"] = "{prompt}"
        return header

    found = compare(paired(outcomes(RECALLS), outcomes(edited(tmp_path, header=other))))
    assert all(each.outcome == "incomparable" and "solvers prompt_template, generate (" in each.note for each in found)


def test_another_temperature_is_named(tmp_path):
    def other(header: dict) -> dict:
        header["eval"]["model_generate_config"]["temperature"] = 1.0
        return header

    found = compare(paired(outcomes(RECALLS), outcomes(edited(tmp_path, header=other))))
    assert {(each.outcome, each.note) for each in found} == {("unchanged", "no item changed, other temperature")}


def status(name: str):
    return lambda header: {**header, "status": name}


def refused(path: Path, why: str, capsys) -> None:
    """It is: in one line, whichever side it is on."""
    for order in ((RECALLS, path), (path, RECALLS)):
        assert main(["compare", *map(str, order)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line
        assert path.name in line
        assert len(line) < 1000


@pytest.mark.parametrize("name", ["started", "error", "cancelled"])
def test_a_run_that_did_not_end_well_is_refused(tmp_path, capsys, name):
    refused(edited(tmp_path, header=status(name)), f"its run has the status '{name}'", capsys)


def test_a_run_that_goes_on_is_refused(tmp_path, capsys):
    """Its log has no header yet."""
    going = rewritten(RECALLS, tmp_path / "log.eval", lambda name, content: None if name == "header.json" else content)
    refused(going, "its run has the status 'started'", capsys)


def test_an_invalidated_run_is_refused(tmp_path, capsys):
    log = edited(tmp_path, header=lambda header: {**header, "invalidated": True})
    refused(log, "its run was invalidated", capsys)


def test_in_a_folder_a_later_run_makes_up_for_one_that_failed(tmp_path):
    failed = edited(tmp_path, header=status("error"), name="1.eval")
    with pytest.raises(BaselineError, match=r"1\.eval: its run has the status 'error'"):
        outcomes(tmp_path)
    edited(tmp_path, name="2.eval")
    assert set(of(tmp_path)) == set(of(RECALLS))
    failed.unlink()
    assert set(of(tmp_path)) == set(of(RECALLS))


def test_of_two_runs_in_a_folder_the_last_counts(tmp_path):
    edited(tmp_path, scored("I"), name="1.eval")
    edited(tmp_path, scored("P"), name="2.eval")
    assert of(tmp_path)["recalls/graded"].values[0] == 0.5


def test_a_log_that_is_not_there_is_refused(tmp_path, capsys):
    refused(tmp_path / "none.eval", "none.eval cannot be read: No such file or directory", capsys)


def test_a_log_without_samples_is_refused(tmp_path, capsys):
    refused(edited(tmp_path, lambda _: None), "holds no samples; run it again without --no-log-samples", capsys)


def test_a_log_without_a_number_is_refused(tmp_path, capsys):
    def silent(sample: dict) -> dict:
        return {**sample, "scores": {"judge": {"value": "polite"}}}

    refused(edited(tmp_path, silent), "none of its scorers gives a number", capsys)


def test_a_log_that_is_cut_short_is_refused(tmp_path, capsys):
    cut = tmp_path / "cut.eval"
    for size in (0, 9, 1000, RECALLS.stat().st_size - 30):
        cut.write_bytes(RECALLS.read_bytes()[:size])
        refused(cut, "is not what inspect writes", capsys)


def test_a_log_with_other_bytes_is_refused(tmp_path, capsys):
    log, content = tmp_path / "other.eval", bytearray(RECALLS.read_bytes())
    with zipfile.ZipFile(RECALLS) as archive:
        info = archive.getinfo("samples/fact-3_epoch_1.json")
    content[info.header_offset + 300] ^= 255
    log.write_bytes(content)
    refused(log, "is not what inspect writes", capsys)


@pytest.mark.parametrize(
    "sample",
    [[], 3, {"scores": {}}, *({"id": 1, "scores": each} for each in (5, {"x": 1}, {"x": {}}, {"x": {"value": 10**400}}, {"x": {"value": {"a": {"b": 1}}}}))],
)  # fmt: skip
def test_samples_that_are_none_are_refused(tmp_path, capsys, sample):
    refused(edited(tmp_path, lambda _: sample), "is not what inspect writes", capsys)


@pytest.mark.parametrize(
    "header",
    [[], {}, {"eval": 1, "status": "success"}, {"eval": {"model": "m"}, "status": "success"}, {"eval": {"model": "m", "task": "t"}, "status": "success", "plan": {"steps": [1]}}],
)  # fmt: skip
def test_headers_that_are_none_are_refused(tmp_path, capsys, header):
    refused(edited(tmp_path, header=lambda _: header), "is not what inspect writes", capsys)


def test_names_only_show(tmp_path, capsys):
    def bad(header: dict) -> dict:
        header["eval"]["task"] = "recalls\x1b[31m\n::set-output\u202e"
        return header

    log = edited(tmp_path, scored("I"), bad)
    assert main(["compare", str(edited(tmp_path, header=bad, name="b.eval")), str(log)]) in (0, 1)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert not any(line.startswith("::") for line in said.splitlines())


def test_what_claims_to_be_small_is_not_unpacked_further(tmp_path, capsys):
    """A bomb: the archive says that a part has ten bytes, of what decompresses to a hundred million."""
    log = tmp_path / "bomb.eval"
    with zipfile.ZipFile(log, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", b" " * 100_000_000)
    packed = bytearray(log.read_bytes())
    for place in (packed.index(b"PK\x03\x04") + 22, packed.index(b"PK\x01\x02") + 24):
        packed[place : place + 4] = struct.pack("<I", 10)
    log.write_bytes(packed)
    refused(log, "is not what inspect writes", capsys)


def test_what_is_too_large_is_not_unpacked(tmp_path, capsys):
    log = tmp_path / "bomb.eval"
    with zipfile.ZipFile(log, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", b" " * (zipped.MOST + 1))
    refused(log, "header.json has 128 MiB, of which at most 128 are read", capsys)


def test_all_parts_together_are_bounded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(zipped, "MOST_OF_ALL", 50_000)
    with pytest.raises(BaselineError, match="what was read of it has"):
        outcomes(RECALLS)


def test_frames_of_zstandard_are_read_to_the_last(tmp_path):
    """Inspect writes a part of more than 200 MiB as several of them."""
    import pyarrow as pa

    text = [json.dumps({"a": n}).encode() * 1000 for n in range(2)]
    packed = b"".join(pa.compress(each, "zstd", asbytes=True) for each in text)
    path = tmp_path / "frames.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", packed)
    content, whole = bytearray(path.read_bytes()), b"".join(text)
    for place in (content.index(b"PK\x03\x04") + 8, content.index(b"PK\x01\x02") + 10):
        content[place : place + 2] = struct.pack("<H", 93)
        content[place + 6 : place + 10] = struct.pack("<I", zipfile.crc32(whole))
        content[place + 14 : place + 18] = struct.pack("<I", len(whole))
    path.write_bytes(content)
    assert zipped.Archive(path).read("a") == whole
