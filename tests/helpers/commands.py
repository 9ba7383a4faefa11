"""`glu-prune` in a process of its own, with a home of its own, as Hugging Face's libraries read theirs on import."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT

NO_SOCKETS = """\
import socket


def refuse(self, address, *_):
    with open({tried!r}, "a") as file:
        file.write(f"{{address}}\\n")
    raise AssertionError(f"this must not reach for the network: {{address}}")


socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda host, *_, **__: refuse(None, host)
"""
"""A `sitecustomize`: any attempt to connect or to look up a name fails, and is written down."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """One in which caches are empty, and nothing is set that would be in the way."""
    dropped = ("HF_", "HUGGING", "TRANSFORMERS_", "NLTK_DATA", "GLU_PRUNE_DATA", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    paths = {"HOME": str(home), "HF_HOME": str(home / "hf"), "NLTK_DATA": str(home / "nltk"), "PYTHONPATH": str(ROOT)}
    return {**kept, **paths, "COLUMNS": "1000", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **more}


def without_sockets(home: Path, **more: str) -> dict[str, str]:
    """Such an environment without a network; what is tried is in `tried` below `home`."""
    (home / "sitecustomize.py").write_text(NO_SOCKETS.format(tried=str(home / "tried")))
    return environment(home, PYTHONPATH=f"{home}{os.pathsep}{ROOT}", **more)


def run(arguments: list[str], where: Path, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], cwd=where, env=env, capture_output=True, text=True, timeout=300)


def glu_prune(*arguments: object, where: Path, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return run(["-m", "glu_prune.cli", *map(str, arguments)], where, env)


BLOCKED = """\
import socket

def refuse(*arguments, **keywords):
    raise AssertionError(f"the embedded run reached for the network: {arguments[1:] or arguments}")

socket.socket.connect = refuse
socket.socket.connect_ex = refuse
socket.getaddrinfo = refuse
socket.create_connection = refuse
"""
