"""A Hugging Face Hub on loopback: what `huggingface_hub` asks of one, and what can go wrong there.

Two servers, as on the real one: the hub knows repositories and logins, and large files come from
another origin that must not see the token.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

LARGE = (".safetensors", ".gguf", ".bin")  # as .gitattributes sends them to the large-file store
_API = re.compile(r"/api/models/(.+?)(?:/(revision|tree|refs)(?:/([^/]+))?)?")
_RESOLVE = re.compile(r"/(.+?)/resolve/([^/]+)/(.+)")


@dataclass
class Repository:
    """Files by revision. `readers` are the tokens that open it; `None` opens it to everyone."""

    revisions: dict[str, dict[str, bytes]]
    readers: set[str] | None = None
    gated: bool = False  # everyone sees what there is, only readers fetch it

    def commit(self, revision: str) -> str | None:
        """The commit that a branch, a tag, or a commit's own name stands for."""
        commits = {name: _commit(files) for name, files in self.revisions.items()}
        return commits.get(revision) or (revision if revision in commits.values() else None)

    def files(self, commit: str) -> dict[str, bytes]:
        return next(files for files in self.revisions.values() if _commit(files) == commit)


@dataclass(frozen=True)
class Request:
    """What came in: `at` is "hub" or "store"."""

    at: str
    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Hub:
    """What the two servers know and have seen.

    Attributes:
        tokens: the logins that exist.
        cuts: file name -> after how many bytes the next answers with its content break off.
        status: answer everything with it; `None` means to answer as asked.
        altered: file name -> what is answered instead of its content, under the old hash.
    """

    url: str = ""
    store: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    status: int | None = None
    altered: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # sha256 -> name, content

    def add(self, name: str, files: Mapping[str, bytes], revision: str = "main", **how) -> str:
        """Adds a revision of a repository; gives its commit."""
        repository = self.repositories.setdefault(name, Repository({}, **how))
        repository.revisions[revision] = dict(files)
        for file, content in files.items():
            self.blobs[hashlib.sha256(content).hexdigest()] = (file, content)
        return _commit(files)

    def fetched(self) -> list[str]:
        """The names of the files whose content was asked for, in order."""
        names = []
        for request in self.requests:
            found = _RESOLVE.fullmatch(request.path)
            if request.method == "GET" and request.at == "store":
                names.append(self.blobs[request.path.strip("/")][0])
            elif request.method == "GET" and found and not found[3].endswith(LARGE):
                names.append(unquote(found[3]))
        return names


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open, as on the real one
    hub: Hub
    at: str

    def do_GET(self) -> None:
        hub = self.hub
        path = self.path.partition("?")[0]
        authorization = self.headers["Authorization"]
        api, resolve = _API.fullmatch(path), _RESOLVE.fullmatch(path)
        if self.at == "hub" and not (api or resolve):  # the library's own statistics
            return self.refuse(404, "", "nothing here")
        hub.requests.append(
            Request(self.at, self.command, path, self.headers["Range"], authorization)
        )
        if hub.status:
            return self.refuse(hub.status, "", "the house is on fire")
        if self.at == "store":
            return self.send_content(*hub.blobs[path.strip("/")], {})
        token = (authorization or "").removeprefix("Bearer ")
        if token and token not in hub.tokens:
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        name = (api or resolve)[1]
        repository = hub.repositories.get(name)
        closed = repository and repository.readers is not None and token not in repository.readers
        if repository is None or (closed and not repository.gated):
            return self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        if api and api[2] == "refs":
            return self.send_json(_refs(repository))
        revision = unquote((api[3] if api else resolve[2]) or "main")
        commit = repository.commit(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = repository.files(commit)
        if api:
            return self.send_json(_tree(files) if api[2] == "tree" else _info(name, commit, files))
        if closed:
            return self.refuse(
                403 if token else 401, "GatedRepo", f"Access to {name} is restricted"
            )
        return self.send_file(unquote(resolve[3]), commit, files)

    do_HEAD = do_GET

    def send_file(self, name: str, commit: str, files: Mapping[str, bytes]) -> None:
        content = files.get(name)
        about = {"X-Repo-Commit": commit}
        if content is None:
            return self.refuse(404, "EntryNotFound", "Entry not found", **about)
        if not name.endswith(LARGE):
            return self.send_content(name, content, {**about, "ETag": f'"{_git_sha(content)}"'})
        digest = hashlib.sha256(content).hexdigest()
        about |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        self.answer(302, b"", {**about, "Location": f"{self.hub.store}/{digest}"})

    def send_content(self, name: str, content: bytes, headers: dict[str, str]) -> None:
        content = self.hub.altered.get(name, content)
        status, total = 200, len(content)
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or ""):
            start = int(asked[1])
            status, content = 206, content[start:]
            headers = {**headers, "Content-Range": f"bytes {start}-{total - 1}/{total}"}
        cuts = self.hub.cuts.get(name) if self.command == "GET" else None
        self.answer(status, content, headers, cut=cuts.pop(0) if cuts else None)

    def send_json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, message: str, **headers: str) -> None:
        named = {"X-Error-Code": code} if code else {}
        self.answer(status, b"", {**headers, **named, "X-Error-Message": message})

    def answer(self, status: int, body: bytes, headers: Mapping, cut: int | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
            self.close_connection |= cut is not None

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub that answers as long as the block runs."""
    hub = Hub()
    servers = []
    for at in ("hub", "store"):
        handler = type("Handler", (_Handler,), {"hub": hub, "at": at})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
    hub.url, hub.store = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def environment(hub: Hub, home: Path) -> dict[str, str]:
    """What a user sets to work with this hub: for child processes."""
    return {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}


def point_at(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for this process, where `huggingface_hub` read its environment at import."""
    from huggingface_hub import close_session, constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(home / "agents"), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()  # an old one may have read another NO_PROXY


def _commit(files: Mapping[str, bytes]) -> str:
    listing = [(name, _git_sha(content)) for name, content in sorted(files.items())]
    return hashlib.sha1(repr(listing).encode()).hexdigest()


def _git_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _info(name: str, commit: str, files: Mapping[str, bytes]) -> dict:
    siblings = [{"rfilename": file} for file in sorted(files)]
    return {"_id": "1", "id": name, "modelId": name, "sha": commit, "siblings": siblings}


def _tree(files: Mapping[str, bytes]) -> list[dict]:
    folders = sorted({name.rpartition("/")[0] for name in files} - {""})
    entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in folders]
    for name, content in sorted(files.items()):
        entry = {"type": "file", "oid": _git_sha(content), "size": len(content), "path": name}
        if name.endswith(LARGE):
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
        entries.append(entry)
    return entries


def _refs(repository: Repository) -> dict:
    heads = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": _commit(files)}
        for name, files in repository.revisions.items()
    ]
    return {"branches": heads, "converts": [], "tags": []}
