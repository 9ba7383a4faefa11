"""A hub: an HTTP server in this process that the real client talks to, with a few small repositories, or one to write."""

import base64
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

    def take(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        """The same for a request that brings something."""
        return self.answer(path)


class WritableHub(Hub):
    """Takes what a client uploads to one repository, by LFS what is no text, and serves nothing else."""

    def __init__(self, token: str, *, private: bool | None = None) -> None:
        """`private`: whether the repository that is there already is; None if there is none."""
        super().__init__({})
        self.token, self.private = token, private
        self.created: dict[str, object] = {}
        self.files: dict[str, bytes] = {}
        """What was committed, by its path."""
        self._blobs: dict[str, bytes] = {}

    def answer(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        return _json({"id": path.removeprefix("/api/models/"), "sha": COMMIT, "siblings": [], "private": self.private})

    def take(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        if path.startswith("/blobs/"):  # where LFS sends files to, which is no part of the hub
            self._blobs[path.removeprefix("/blobs/")] = body
            return 200, {}, b""
        if headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {}, b""
        if path.endswith("/api/repos/create"):
            self.created = json.loads(body)
            made = {"url": f"{self.url}/{self.created.get('organization')}/{self.created['name']}"}
            if self.private is not None:
                return 409, {"Content-Type": "application/json"}, json.dumps(made).encode()
            self.private = bool(self.created.get("private")) or self.created.get("visibility") == "private"
            return _json(made)
        if "/preupload/" in path:
            modes = [
                {
                    "path": path,
                    "uploadMode": "lfs" if path.endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for path in (file["path"] for file in json.loads(body)["files"])
            ]
            return _json({"files": modes})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.url}/blobs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return _json({"transfer": "basic", "objects": objects})
        if "/commit/" in path:
            self._commit([json.loads(line) for line in body.splitlines()])
            return _json(
                {"success": True, "commitOid": COMMIT, "commitUrl": f"{self.url}/someone/small/commit/{COMMIT}"}
            )
        return _json({"errors": [], "warnings": []})  # what a card says is allowed

    def _commit(self, lines: list[dict[str, dict[str, str]]]) -> None:
        for line in lines:
            said = line["value"]
            if line["key"] == "file":
                self.files[said["path"]] = base64.b64decode(said["content"])
            elif line["key"] == "lfsFile":
                blob = self._blobs[said["oid"]]
                assert hashlib.sha256(blob).hexdigest() == said["oid"]
                self.files[said["path"]] = blob


def _json(said: object) -> tuple[int, Mapping[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(said).encode()


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
            sent = self.rfile.read(length)
            hub.asked.append(f"{self.command} {self.path}")
            taken = self.command in ("POST", "PUT")
            status, headers, body = hub.take(self.path, sent, self.headers) if taken else hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815 - as http.server looks for them

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
