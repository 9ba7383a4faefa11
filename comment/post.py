"""Posts a comment on the pull request that a workflow run was about, in place of the one before.

Runs where GitHub's token may write, on what a run for anybody's fork left: of that, only the text is used, and which
pull request it belongs to is GitHub's word. Needs nothing but Python.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

MARK = "<!-- glu-prune -->"
MOST = 65_000
"""Bytes; GitHub refuses a comment of more than 65,536 characters."""
_PAGE = 100
_PAGES = 30


def main(file: Path) -> str:
    """Posts the text in `file`, and says what was done; raises `ValueError` for a text that is not ours."""
    run = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text("utf-8"))["workflow_run"]
    if run["event"] != "pull_request" or not file.is_file():
        return "nothing to post: the run was about no pull request, or judged nothing"
    text = body(file)
    repository = f"/repos/{os.environ['GITHUB_REPOSITORY']}"
    number = pull_request(repository, run)
    if number is None:
        return f"nothing to post: no open pull request ends in {run['head_sha']}"
    old = next((each["id"] for each in comments(repository, number) if ours(each)), None)
    if old is None:
        api("POST", f"{repository}/issues/{number}/comments", {"body": text})
        return f"posted on pull request {number}"
    api("PATCH", f"{repository}/issues/comments/{old}", {"body": text})
    return f"replaced comment {old} on pull request {number}"


def body(file: Path) -> str:
    """The text, which mentions nobody."""
    with file.open("rb") as stream:
        content = stream.read(MOST + 1)
    if len(content) > MOST or not content.startswith(MARK.encode()):
        msg = f"{file.name} is not what `glu-prune comment` writes: at most {MOST} bytes that begin with {MARK}"
        raise ValueError(msg)
    return content.decode("utf-8").replace("@", "@\u2060")


def pull_request(repository: str, run: dict[str, Any]) -> int | None:
    """The open one whose last commit was judged; None if others were pushed since. Of forks, the event names none."""
    head = quote(f"{run['head_repository']['owner']['login']}:{run['head_branch']}", safe="")
    found = api("GET", f"{repository}/pulls?state=open&per_page={_PAGE}&head={head}")
    return next((int(each["number"]) for each in found if each["head"]["sha"] == run["head_sha"]), None)


def comments(repository: str, number: int) -> Iterator[dict[str, Any]]:
    """All comments, oldest first."""
    for page in range(1, _PAGES + 1):
        found = api("GET", f"{repository}/issues/{number}/comments?per_page={_PAGE}&page={page}")
        yield from found
        if len(found) < _PAGE:
            return


def ours(comment: dict[str, Any]) -> bool:
    """Whether a workflow posted it, and this one: anybody can write the mark."""
    return comment["user"]["type"] == "Bot" and str(comment["body"]).startswith(MARK)


def api(method: str, path: str, data: dict[str, str] | None = None) -> Any:
    """GitHub's answer; raises `OSError` if there is none, or it refuses."""
    headers = {
        "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
        "Accept": "application/vnd.github+json",
        "Content-Type": "application/json",
    }
    content = None if data is None else json.dumps(data).encode()
    address = os.environ["GITHUB_API_URL"] + path
    with urlopen(Request(address, content, headers, method=method), timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{main(Path(sys.argv[1]))}\n")
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"no comment was posted: {type(error).__name__}: {error}")
