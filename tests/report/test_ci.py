"""What CI is told: hostile text only shows, pages fit, and annotations stand where claims stand."""

import json
import re
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from glu_prune.clean import markdown, one_line
from glu_prune.cli import main
from glu_prune.report import ci, matrix, summary
from glu_prune.report.github import annotations, seen_from
from glu_prune.results.report import CaseOutcome, Report
from tests.helpers.judged import published

HOSTILE = "<script>x</script>|`[a](http://b)\n::set-output name=a::b\x1b[31m\u202edcba\r##[error]"


def case(**more: object) -> CaseOutcome:
    row = {"case": "m-recall", "model": "m", "file": "expectations/m.yaml", "line": 3, "declared": "confirmed"}
    return CaseOutcome.model_validate({**row, "result": "failed", "message": "found refuted", **more})


def session(*cases: CaseOutcome) -> Report:
    return Report(cases=cases)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain: a_b, 3 < 4, caf\u00e9 \u4f60", "plain: a_b, 3 < 4, caf\u00e9 \u4f60"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31m\x9b\x00", "\\x1b[31m\\x9b\\x00"),
        ("\u202eabc\u2066\u200b\u2028\ufeff", "\\u202eabc\\u2066\\u200b\\u2028\\ufeff"),
        ("\udcff", "\\udcff"),
        ("  ::error::x", "  \\x3a:error::x"),
        ("a::b.py::c", "a::b.py::c"),
        ("say ##[set-output]x", "say #\\x23[set-output]x"),
        ("\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"),
    ],
)
def test_text_that_acts_is_written_out(text, shown):
    assert one_line(text) == shown


@given(st.text())
def test_no_text_makes_a_second_line_or_a_command(text):
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert not shown.lstrip().startswith("::")
    assert "##[" not in shown
    assert not [
        each for each in shown if not each.isprintable() and each not in " \u3000\u200c\u200d" and each.isascii()
    ]
    shown.encode("utf-8")
    assert one_line(shown) == shown


def test_markdown_has_no_cell_link_code_or_element_of_its_own():
    assert markdown("a|b <i> `c` [d](e) ![f](g) \\ &amp;") == "a\\|b \\<i> \\`c\\` \\[d\\](e) !\\[f\\](g) \\\\ \\&amp;"
    assert markdown("see http://a.b and www.c.d") == "see http\\://a.b and www\\.c.d"
    assert markdown("snake_case, 2 - 1 = 1, a@b.c, -0.5, 1.5") == "snake_case, 2 - 1 = 1, a@b.c, -0.5, 1.5"
    assert markdown("ask @someone") == "ask @<!-- -->someone"


def rendered(text: str) -> str:
    """What a reader sees of Markdown, with the names of elements that it makes."""
    html = re.sub("<!-- -->", "", MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    return unescape(html.replace("\n", ""))


MARKUP = ("**", "_", "__a__", "*a*", "$", "$x$", "~~a~~", "@someone", "#", "# a", "- a", "+ a", "1. a", "1) a", "> a", "---", "===", "`", "|", "<b>", "&lt;",
          "![a](b)", "[a]: b", "\\", " ", "a", "0.5", "snake_case", "a_b_", "-0.5", "\n", "**a**b", "<!--", "-->", "***", "_ _ _")  # fmt: skip


@given(st.lists(st.sampled_from(MARKUP), max_size=6).map("".join) | st.text(max_size=20))
def test_markdown_reads_as_it_was_written(text):
    seen = one_line(text).strip()
    item, row = (rendered(each.format(markdown(text))) for each in ("- {}", "| a |\n|---|\n| {} |"))
    assert row.split("<td>")[1].split("</td>")[0].strip() == seen
    if seen not in ("", "-"):  # a hyphen alone stands for what is not known in tables, and begins no sentence
        assert item.removeprefix("<ul><li>").removesuffix("</li></ul>").strip() == seen
    assert "$" not in re.sub(r"\\\$", "", markdown(text))
    assert not re.search(r"(?<!\w)@\w", markdown(text))


def test_annotations_are_on_files_as_the_repository_has_them(tmp_path):
    cases = [case(), case(result="inconclusive", line=9), case(result="passed"), case(result="skipped")]
    assert list(annotations(cases, tmp_path / "sub", tmp_path)) == [
        "::error file=sub/expectations/m.yaml,line=3,title=m-recall::found refuted",
        "::warning file=sub/expectations/m.yaml,line=9,title=m-recall::found refuted",
    ]
    assert seen_from(tmp_path / "repository", Path("/elsewhere/m.yaml")) == "/elsewhere/m.yaml"


def test_cases_of_one_claim_share_an_annotation(tmp_path):
    cases = [
        *(case(case=f"m-{ratio}-recall", message=f"found {ratio}") for ratio in ("0.1", "0.2", "0.3")),
        case(case="m-0.4-recall", result="inconclusive"),
        case(case="m-0.1-other", file="expectations/n.yaml"),
    ]
    together, warning, other = annotations(cases, tmp_path, tmp_path)
    assert together == (
        "::error file=expectations/m.yaml,line=3,title=m-0.1-recall and 2 more::"
        "m-0.1-recall: found 0.1%0Am-0.2-recall: found 0.2%0Am-0.3-recall: found 0.3"
    )
    assert warning.startswith("::warning file=expectations/m.yaml,line=3,title=m-0.4-recall::")
    assert other.startswith("::error file=expectations/n.yaml,line=3,title=m-0.1-other::")


def test_nothing_in_a_case_makes_another_annotation(tmp_path):
    hostile = case(case="a,line=1::b\n%", file="a,b: c%\n::x.yaml", message=f"100%\n{HOSTILE}")
    (line,) = annotations([hostile], tmp_path, tmp_path)
    assert len(line.splitlines()) == 1
    head, message = line.removeprefix("::").split("::", 1)
    assert head == "error file=a%2Cb%3A c%25\\n%3A%3Ax.yaml,line=3,title=a%2Cline=1%3A%3Ab\\n%25"
    assert message.startswith("100%25\\n<script>")


def test_a_message_is_cut():
    (line,) = annotations([case(message="x" * 100_000)], Path(), Path())
    assert len(line) < 5000


def test_the_page_says_what_to_look_at(tmp_path):
    text = summary.summary(session(case(), case(result="passed", line=9), case(result="inconclusive", message=HOSTILE)))
    assert "1 passed, 1 failed, 1 inconclusive of 3 cases" in text
    assert "- **failed** expectations/m.yaml:3 m-recall: found refuted\n" in text
    (line,) = (each for each in text.splitlines() if each.startswith("- **inconclusive**"))
    assert "\\<script>x\\</script>\\|\\`\\[a\\](http\\://b)" in line
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("there", [0, 400_000, 999_990, 2_000_000])
def test_a_page_stays_below_the_limit_and_says_that_it_was_cut(tmp_path, there):
    page = tmp_path / "page.md"
    page.write_text("x" * there)
    text = "".join(f"line {index} \u4f60\n" for index in range(100_000))
    summary.append(page, text)
    size = page.stat().st_size
    assert there <= size <= max(there, summary.LIMIT)
    written = page.read_text()[there:]
    if there < 900_000:
        assert written.endswith("_Cut here: a page holds no more. The tables are whole in the results folder._\n")
        assert size > summary.LIMIT - 100
    else:
        assert written == ""


def test_a_page_that_was_asked_for_is_new_and_that_of_github_goes_on(tmp_path, monkeypatch):
    mine, theirs = tmp_path / "new" / "mine.md", tmp_path / "theirs.md"
    theirs.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(theirs))
    for _ in range(2):
        assert list(ci.told(session(case()), mine, tmp_path, tmp_path)) == [f"summary: {mine}"]
    assert mine.read_text().count("# glu-prune") == 1
    assert theirs.read_text() == "before\n" + 2 * mine.read_text()


def test_annotations_are_for_github_alone(tmp_path, monkeypatch):
    assert list(ci.told(session(case()), None, tmp_path, tmp_path)) == []
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path.parent))
    (line,) = ci.told(session(case()), None, tmp_path, tmp_path)
    assert line.startswith(f"::error file={tmp_path.name}/expectations/m.yaml,line=3,")


def test_a_page_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    (tmp_path / "file").write_text("")
    lines = list(ci.told(session(case()), tmp_path / "file" / "page.md", tmp_path, tmp_path))
    assert [line.split(": ")[0] for line in lines] == [
        f"the summary was not written to {tmp_path}/file/page.md",
        "GITHUB_STEP_SUMMARY",
    ]


def test_a_session_without_cases_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    assert list(ci.told(Report(), tmp_path / "mine.md", tmp_path, tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_comment_begins_with_its_mark_and_fits_into_one(tmp_path, capsys):
    (tmp_path / "report.json").write_text(json.dumps(published().json_row()))
    assert main(["comment", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("<!-- glu-prune -->\n# glu-prune\n")
    assert len(text.encode()) < 65_536
    assert text.index("| ↑ instruction_following") < text.index("<details>")


def test_a_comment_of_what_is_no_report_is_refused(tmp_path, capsys):
    assert main(["comment", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"glu-prune: {tmp_path}/report.json cannot be read: No such file")


def test_what_is_not_as_declared_is_marked_in_the_matrix():
    row = published().scores[0].model_copy(update={"outcome": "confirmed", "declared": "refuted"})
    (table,) = (table for _, table in matrix.headed(Report(scores=(row,))))
    assert "| ✓ !" in table
