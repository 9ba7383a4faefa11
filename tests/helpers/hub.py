"""A hub: an HTTP server in this process that the real client talks to, with a few small repositories."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Repositories = Mapping[str, Mapping[str, bytes]]
"""`models/owner/name` or `datasets/owner/name` to its files."""


class Hub:
    """Serves repositories, refuses gated ones, and keeps what it was asked for."""

    def __init__(self, repositories: Repositories, gated: tuple[str, ...] = ()) -> None:
        self.repositories, self.gated = repositories, gated
        self.asked: list[str] = []
        self.url = ""

    def answer(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body for a request."""
        path = unquote(urlsplit(path).path)
        api = re.fullmatch(r"/api/((?:models|datasets)/[^/]+/[^/]+)(.*)", path)
        file = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        name = api[1] if api else f"{file[1] or 'models/'}{file[2]}" if file else ""
        if name in self.gated:
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted."}, b""
        files = self.repositories.get(name)
        if files is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if api:
            return 200, {"Content-Type": "application/json"}, json.dumps(_listed(api[2], name, files)).encode()
        return _served(files, file[3])


def _listed(asked: str, name: str, files: Mapping[str, bytes]) -> object:
    entries = [
        {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        for path, content in files.items()
    ]
    if asked.startswith("/tree/"):
        below = asked.split("/", 3)[3] + "/" if asked.count("/") > 2 else ""
        return [entry for entry in entries if entry["path"].startswith(below)]
    owner_and_name = name.split("/", 1)[1]
    siblings = [{"rfilename": path} for path in files]
    return {"id": owner_and_name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}


def _served(files: Mapping[str, bytes], path: str) -> tuple[int, Mapping[str, str], bytes]:
    if path not in files:
        return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
    content = files[path]
    return 200, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}, content


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Runs `hub`, whose `url` is set meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            hub.asked.append(f"{self.command} {self.path}")
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = _answer  # noqa: N815 - as http.server looks for them

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
