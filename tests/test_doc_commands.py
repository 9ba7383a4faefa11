"""Every command that a page shows is one that exists; and those that a machine like this can run are run as they stand.

A comment above a block says what is not: `<!-- not run: why -->`. `<!-- run with NAME=value -->` fills in what a reader fills in, and
`<!-- run, exits 1 -->` says that failing is the point. A block with a title is a file, which later commands of its page read.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from glu_prune.cli import app
from glu_prune.option_list import OPTIONS
from tests.helpers import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w*)(?: title=\"(?P<title>.*)\")?\n(?P<body>.*?)^```$",
    re.M | re.S,
)
MARK = re.compile(
    r"not run(?: here)?: .+|run by tests/\w+\.py|run(?: with (?P<given>\w+=\S+))?(?:,? exits (?P<code>\d))?"
)
OTHERS = {"llama_cpp", "onnxruntime_genai"}
"""Packages of engines, with commands of their own, that need not be here."""
QUICK = "--glu-limit=10 --glu-model=tiny-base --deselect=benchmarks/test_efficiency.py"
"""One model, of each task only some items, no costs: that a command does what its page says is tested, not what it finds."""


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    mark: str
    language: str
    title: str
    body: str

    @property
    def commands(self) -> list[str]:
        """Its lines, without comments, with what stands for something filled in."""
        given = MARK.fullmatch(self.mark).group("given") if self.mark else None
        name, _, value = (given or "").partition("=")
        lines = [line for line in self.body.splitlines() if line and not line.startswith("#")]
        return [re.sub(rf"\b{name}\b", value, line) if name else line for line in lines]

    @property
    def exit_code(self) -> int:
        """What its last command ends with."""
        return int((self.mark and MARK.fullmatch(self.mark).group("code")) or 0)

    @property
    def is_run(self) -> bool:
        return self.language == "sh" and not self.mark.startswith(("not run", "run by"))

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> list[Block]:
    text = path.read_text()
    return [
        Block(
            path.name,
            text.count("\n", 0, found.start()) + 1,
            *(found.group(name) or "" for name in ("mark", "language", "title", "body")),
        )
        for found in BLOCK.finditer(text)
    ]


EVERY = [block for path in PAGES for block in blocks(path)]
TO_RUN = {path.name: [block for block in blocks(path) if block.is_run or block.title] for path in PAGES}


def test_every_block_says_what_it_is_and_every_mark_is_understood():
    fences = sum(path.read_text().count("\n```") for path in PAGES)
    assert 2 * len(EVERY) == fences, "a block that is not read"
    for block in EVERY:
        assert block.language in {"sh", "text", "yaml", "python"}, block
        assert not block.mark or MARK.fullmatch(block.mark), block
        assert not block.mark.startswith("run by") or (ROOT / block.mark.removeprefix("run by ")).is_file(), block


@pytest.mark.parametrize("block", [each for each in EVERY if each.language == "sh"], ids=str)
def test_every_command_exists(block):
    for line in block.commands:
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        known(words[: words.index(">")] if ">" in words else words, block)


def known(words: list[str], block: Block) -> None:
    """Fails unless what `words` call exists, with the options in them; what other projects' commands take is theirs to say."""
    program, *arguments = words
    match Path(program).name:
        case "glu-prune":
            parsed(arguments)
        case "pytest":
            options = {word.partition("=")[0] for word in arguments if word.startswith("--glu")}
            assert options <= {option.name for option in OPTIONS} | {"--glu-contract"}, block
        case "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in arguments if "=" not in word} <= set(targets), block
        case "python":
            module = arguments[1] if arguments[0] == "-m" else ""
            if arguments[0].startswith("llama.cpp/") or module.partition(".")[0] in OTHERS:
                return
            assert importlib.util.find_spec(module) if module else (ROOT / arguments[0]).is_file(), block
        case other:
            assert other in {"pip", "source", "gh", "hf", "sbatch", "vllm"}, block


def parsed(arguments: list[str]) -> None:
    """Raises where a command of this package does not take `arguments`; runs nothing."""
    command = typer.main.get_command(app)
    context = command.make_context("glu-prune", list(arguments[:1]), resilient_parsing=True)
    context.resilient_parsing = False
    name, found, _ = command.resolve_command(context, list(arguments))
    rest = arguments[1:]
    while hasattr(found, "commands"):
        name, found, rest = found.resolve_command(context, rest)
    found.make_context(name, list(rest), parent=context)


@pytest.mark.parametrize("wrong", ["plan tiny-base --ration 0.5", "plam tiny-base", "store pakc x"])
def test_a_command_that_does_not_exist_is_found(wrong):
    with pytest.raises(Exception, match=r"No such|does not exist"):
        parsed(wrong.split())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """This repository as a reader has it after `make bench`: its files, and an environment in `.venv`."""
    folder = tmp_path_factory.mktemp("checkout") / "glu-prune"
    folder.mkdir(parents=True)
    for name in ("benchmarks", "docs", "expectations", "glu_prune", "tools", "baselines", "conftest.py", "pytest.ini"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.mark.slow("answers ten items of every task, and measures a model")
@pytest.mark.parametrize("page", [name for name, found in TO_RUN.items() if any(block.is_run for block in found)])
def test_the_commands_of_a_page_run(checkout, page):
    environment = {**os.environ, "PATH": f"{checkout}/.venv/bin{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = str(checkout)
    for block in TO_RUN[page]:
        if block.title:
            (checkout / block.title).write_text(block.body)
            continue
        for line in block.commands:
            options = {"PYTEST_ADDOPTS": "" if "--glu-evidence" in line else QUICK}
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=checkout,
                env=environment | options,
                capture_output=True,
                text=True,
                check=False,
            )
            wanted = block.exit_code if line == block.commands[-1] else 0
            assert done.returncode == wanted, f"{block}: {line}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
