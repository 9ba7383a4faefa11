"""The GitHub actions, run as GitHub runs them: scripts, variables, files, and an API on loopback."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from glu_prune.cli import main
from glu_prune.report.summary import COMMENT_LIMIT, MARK
from tests.helpers import ROOT
from tests.helpers.actions import run_action


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A repository of a user."""
    assert main(["init", str(tmp_path / "project")]) == 0
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path / "project"


def ran(project: Path, **given: str):
    github = {
        "github.run_id": "1", "runner.os": "Linux", "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(project), "GITHUB_STEP_SUMMARY": str(project / "summary.md"),
    }  # fmt: skip
    given = {name.replace("_", "-"): text for name, text in given.items()}
    return run_action(ROOT, project, given, github, skip=["Install"])


@pytest.mark.slow("judges a miniature")
def test_a_run_leaves_tables_a_page_a_summary_and_a_comment(project):
    done = ran(project, model="tiny-base", select="ratio_0.5 and recall", arguments="--glu-limit=60\n-v\n")
    assert done.code == 0, done.output
    results = project / "results"
    assert {"scores.csv", "report.json", "report.html", "junit.xml", "comment.md"} <= {
        each.name for each in results.iterdir()
    }
    assert (results / "comment.md").read_text().startswith(MARK)
    assert "factual_recall" in (project / "summary.md").read_text()
    assert done.used["actions/upload-artifact"]["path"] == "./results"
    assert "./.glu-prune" in done.used["actions/cache"]["path"]


@pytest.mark.slow("judges a miniature")
def test_a_verdict_that_is_not_the_declared_one_fails_and_is_still_told(project):
    claims = project / "expectations" / "tiny-base.yaml"
    claims.write_text("model: tiny-base\nratios: [0.5]\nexpect:\n  - {capability: factual_recall, direction: up, why: w}\n")  # fmt: skip
    done = ran(project, arguments="--glu-limit=60")
    assert done.code == 1
    assert "::error file=expectations/tiny-base.yaml,line=4" in done.output["Judge"]
    assert "refuted" in (project / "results" / "comment.md").read_text()


def test_what_is_given_stays_an_argument(project, tmp_path):
    done = ran(
        project, model="$(touch pwned); `touch pwned`", select="a' --co; touch pwned #", arguments="--x;touch pwned"
    )
    assert done.code != 0
    assert not list(tmp_path.rglob("pwned*"))
    assert not (project / "results").exists()


def test_a_model_that_is_here_is_not_fetched_and_one_that_is_nowhere_is_an_error(project):
    assert ran(project, model="tiny-base", arguments="--co").output["Fetch the model"] == ""
    done = ran(project, model="tiny-bse")
    assert done.code
    assert "tiny-bse" in done.output["Fetch the model"]
    assert "Judge" not in done.output


def uses() -> list[str]:
    places = [ROOT / "action.yml", ROOT / "comment" / "action.yml", *(ROOT / ".github" / "workflows").iterdir()]
    return [line.strip(" -") for path in places for line in path.read_text().splitlines() if "uses: " in line]


def test_every_action_is_named_by_its_commit_and_once():
    lines = set(uses())
    assert len(lines) > 6
    assert {line for line in lines if not re.fullmatch(r"uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+", line)} == set()
    assert len({line.partition("@")[0] for line in lines}) == len(lines)


class Api(BaseHTTPRequestHandler):
    """As much of GitHub's as a comment needs."""

    def _answer(self, content, code=200):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def do_GET(self):
        where = urlsplit(self.path)
        query = parse_qs(where.query)
        if self.headers["Authorization"] != "Bearer token":
            self._answer({}, 401)
        elif where.path == "/repos/me/mine/pulls":
            assert query["head"] == ["some one:a&b=c#d"]
            self._answer(self.server.pulls)
        else:
            page = int(query["page"][0])
            assert where.path == "/repos/me/mine/issues/7/comments"
            self._answer(self.server.comments[(page - 1) * 100 : page * 100])

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]
        self.server.written.append((self.command, self.path, body))
        self._answer({})

    def do_PATCH(self):
        self.do_POST()

    def log_message(self, *_):
        pass


@pytest.fixture
def github():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.pulls = [{"number": 6, "head": {"sha": "old"}}, {"number": 7, "head": {"sha": "abc"}}]
    server.comments, server.written = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def post(github, folder: Path, text: str | bytes, event: str = "pull_request", token: str = "token"):
    run = {
        "event": event,
        "head_branch": "a&b=c#d",
        "head_sha": "abc",
        "head_repository": {"owner": {"login": "some one"}},
    }
    (folder / "event.json").write_text(json.dumps({"workflow_run": run}))
    (folder / "glu-prune").mkdir(exist_ok=True)
    (folder / "glu-prune" / "comment.md").write_bytes(text.encode() if isinstance(text, str) else text)
    variables = {
        "github.event.workflow_run.id": "9", "github.token": token, "runner.temp": str(folder), "RUNNER_TEMP": str(folder),
        "GITHUB_EVENT_PATH": str(folder / "event.json"), "GITHUB_REPOSITORY": "me/mine",
        "GITHUB_API_URL": f"http://127.0.0.1:{github.server_port}",
    }  # fmt: skip
    return run_action(ROOT / "comment", folder, {"token": token}, variables)


def said(done) -> str:
    (output,) = done.output.values()
    return output


def test_a_comment_is_posted_then_replaced_and_only_our_own(github, tmp_path):
    done = post(github, tmp_path, f"{MARK}\nall is well, @everyone")
    assert (done.code, said(done)) == (0, "posted on pull request 7\n")
    ((method, path, body),) = github.written
    assert (method, path) == ("POST", "/repos/me/mine/issues/7/comments")
    assert "@everyone" not in body
    strangers = [{"id": each, "user": {"type": "User"}, "body": MARK} for each in range(150)]
    github.comments = [*strangers, {"id": 200, "user": {"type": "Bot"}, "body": f"{MARK}\nbefore"}]
    assert said(post(github, tmp_path, f"{MARK}\nnow")) == "replaced comment 200 on pull request 7\n"
    assert github.written[1] == ("PATCH", "/repos/me/mine/issues/comments/200", f"{MARK}\nnow")
    assert done.used["actions/download-artifact"]["run-id"] == "9"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hello", "is not what `glu-prune comment` writes"),
        (MARK + "x" * COMMENT_LIMIT, "is not what `glu-prune comment` writes"),
        (MARK.encode() + b"\xff", "UnicodeDecodeError"),
    ],
)
def test_another_text_is_not_posted(github, tmp_path, text, complaint):
    done = post(github, tmp_path, text)
    assert done.code == 1
    assert complaint in said(done)
    assert "Traceback" not in said(done)
    assert github.written == []


def test_nothing_is_posted_on_what_was_not_judged(github, tmp_path):
    github.pulls = github.pulls[:1]
    assert "no open pull request ends in abc" in said(post(github, tmp_path, MARK))
    assert "about no pull request" in said(post(github, tmp_path, MARK, event="push"))
    assert post(github, tmp_path, MARK).code == 0
    assert github.written == []


def test_a_refusal_is_one_line_without_the_token(github, tmp_path):
    done = post(github, tmp_path, MARK, token="wrong-secret")
    assert done.code == 1
    assert said(done) == "no comment was posted: HTTPError: HTTP Error 401: Unauthorized\n"


def test_limits_and_the_mark_are_those_of_the_package():
    text = (ROOT / "comment" / "post.py").read_text()
    assert f'MARK = "{MARK}"' in text
    assert f"MOST = {COMMENT_LIMIT:_}" in text


def test_the_hook_runs_what_is_installed_on_files_of_claims_alone(project):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    files = [str(each) for each in (project / "expectations").iterdir()]
    done = subprocess.run([*hook["entry"].split(), *files], cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1 file: 10 cases, 0 errors\n")
