"""A Hub of one's own: an HTTP server that speaks what huggingface_hub 2.4 and datasets 5.2 ask of the real one.

Repositories have git-like commits; large files go through LFS by SHA-256. What goes wrong on a network can be made to
happen to chosen requests. Served from threads of the test's process, so that a test sees what arrived.

A client is a process of its own: `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_DISABLE_XET=1` are read when huggingface_hub is
imported. `LocalHub.environment` has them.

Source: the requests in the sources of huggingface_hub 2.4, and https://huggingface.co/docs/hub/api.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

_BOUND = 512 * 1024 * 1024
_LFS_ENDINGS = (".safetensors", ".parquet", ".arrow", ".gz", ".bin", ".pt", ".npz", ".zip", ".png", ".jpg")
_REGULAR_BOUND = 10_000_000
_ATTRIBUTES = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in _LFS_ENDINGS).encode()


@dataclass(frozen=True)
class Blob:
    """Content of one file."""

    content: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def git_oid(self) -> str:
        data = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 - what git calls it

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_oid


@dataclass(frozen=True)
class Commit:
    """One commit: its files are the whole tree."""

    oid: str
    parent: str | None
    title: str
    files: Mapping[str, Blob]


@dataclass
class Repository:
    """One repository; `commits` is the history of `main`, oldest first."""

    kind: str
    name: str
    private: bool
    commits: list[Commit] = field(default_factory=list)
    lfs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    @property
    def files(self) -> Mapping[str, Blob]:
        """Files of the head, without `.gitattributes`, which the Hub itself puts there."""
        return {path: blob for path, blob in self.head.files.items() if path != ".gitattributes"}

    def commit(self, title: str, files: Mapping[str, Blob]) -> Commit:
        parent = self.commits[-1].oid if self.commits else None
        names = "".join(f"{path}\0{blob.etag}\n" for path, blob in sorted(files.items()))
        seed = f"{self.kind}{self.name}{len(self.commits)}{parent}{title}{names}".encode()
        self.commits.append(Commit(hashlib.sha1(seed).hexdigest(), parent, title, dict(files)))  # noqa: S324
        return self.head

    def at(self, revision: str) -> Commit | None:
        oid = self.tags.get(revision, revision)
        if revision in ("main", "refs/heads/main"):
            return self.head
        return next((commit for commit in self.commits if commit.oid == oid), None)


@dataclass(frozen=True)
class User:
    """Who a token belongs to, and in which organizations they may write; `write` is the token's own right."""

    name: str
    organizations: tuple[str, ...] = ()
    write: bool = True


@dataclass(frozen=True)
class Seen:
    """A request as it arrived: `line` is `METHOD /path?query`, `size` that of the body, `status` what was answered.

    A status of 0 is a connection that was cut.
    """

    line: str
    size: int
    status: int


@dataclass
class Fault:
    """What goes wrong with requests whose `METHOD /path?query` has a match of `pattern`.

    Attributes:
        times: for so many requests; then all is well again.
        skip: so many matching requests pass first.
        status, headers, body: the answer instead of the right one; 0 for none.
        reset_after: the connection is cut after so many bytes of the request's body (or of the answer's, of a GET).
        lost_answer: the work is done, but the connection is cut before it is said.
        flip: one byte of the content served is another.
        wait_s: seconds before anything is done.
        held: set when such a request arrives, for a test that waits for it.
    """

    pattern: str
    times: int = 1
    skip: int = 0
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | str = ""
    reset_after: int | None = None
    lost_answer: bool = False
    flip: bool = False
    wait_s: float = 0.0
    held: threading.Event = field(default_factory=threading.Event)


class LocalHub:
    """The server and all that it holds."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.renamed: dict[tuple[str, str], str] = {}
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.page = 1_000
        self.lock = threading.RLock()
        self.under_way = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def environment(self, token: str | None, home: Path) -> dict[str, str]:
        """What a client's process needs beside `os.environ`: an own cache below `home`, no Xet, no telemetry."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": token or "",
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_DATASETS_CACHE": str(home / "datasets"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
        }

    def fault(self, pattern: str, **what: Any) -> Fault:
        """Let requests go wrong from now on; the same fault is returned, to be waited for or ended (`times = 0`)."""
        made = Fault(pattern, **what)
        with self.lock:
            self.faults.append(made)
        return made

    def repository(self, kind: str, name: str) -> Repository:
        return self.repositories[kind, name]

    def make(self, kind: str, name: str, files: Mapping[str, bytes], *, private: bool = False) -> Repository:
        """A repository that is there already, with one commit of these files."""
        made = Repository(kind, name, private)
        made.commit("initial commit", {".gitattributes": Blob(_ATTRIBUTES)})
        blobs = {path: Blob(content, _is_lfs(path, len(content))) for path, content in files.items()}
        made.lfs |= {blob.sha256: blob.content for blob in blobs.values() if blob.lfs}
        if blobs:
            made.commit("files", {**made.head.files, **blobs})
        self.repositories[kind, name] = made
        return made

    def requests(self, pattern: str) -> list[Seen]:
        """Those seen so far whose line has a match of the pattern."""
        with self.lock:
            return [seen for seen in self.seen if re.search(pattern, seen.line)]

    def forget(self) -> None:
        """Requests and faults; repositories stay. What a killed client left under way is waited for."""
        deadline = time.monotonic() + 10
        while self.under_way and time.monotonic() < deadline:
            time.sleep(0.005)
        with self.lock:
            self.seen.clear()
            self.faults.clear()


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    hub = LocalHub()
    try:
        yield hub
    finally:
        hub.close()


def _is_lfs(path: str, size: int) -> bool:
    return path.endswith(_LFS_ENDINGS) or size > _REGULAR_BOUND


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    hub: LocalHub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed is no error of the server."""


class _Refused(Exception):  # noqa: N818
    def __init__(self, status: int, message: str, code: str = "", location: str = "") -> None:
        self.status, self.message, self.code, self.location = status, message, code, location


class _Cut(Exception):  # noqa: N818
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    # -- one request, with what is to go wrong with it

    def _serve(self) -> None:
        self.hub = self.server.hub
        self.answered = 0
        self.body = b""
        self.line = f"{self.command} {unquote(self.path)}"
        with self.hub.lock:
            self.hub.under_way += 1
        self.at_fault = self._fault()
        try:
            if self.at_fault and self.at_fault.wait_s:
                time.sleep(self.at_fault.wait_s)
            self.body = self._read()
            if self.at_fault and self.at_fault.status:
                self._fail(self.at_fault)
            else:
                self._route()
        except _Refused as refused:
            headers = {"X-Error-Message": refused.message}
            if refused.code:
                headers["X-Error-Code"] = refused.code
            if refused.location:
                headers["Location"] = refused.location
            self._json({"error": refused.message}, refused.status, headers)
        except _Cut:
            self.answered = 0
            self._cut()
        finally:
            with self.hub.lock:
                self.hub.under_way -= 1
                self.hub.seen.append(Seen(self.line, len(self.body), self.answered))

    def _fault(self) -> Fault | None:
        with self.hub.lock:
            for fault in self.hub.faults:
                if fault.times > 0 and re.search(fault.pattern, self.line):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    fault.held.set()
                    return fault
        return None

    def _read(self) -> bytes:
        cut = self.at_fault.reset_after if self.at_fault and self.command in ("PUT", "POST") else None
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            length = int(self.headers.get("Content-Length", 0))
            assert length < _BOUND
            body = self.rfile.read(length if cut is None else min(cut, length))
        if cut is not None:
            self.body = body
            raise _Cut
        return body

    def _fail(self, fault: Fault) -> None:
        if isinstance(fault.body, str):
            self._send(fault.body.encode(), fault.status, {"Content-Type": "text/html", **fault.headers})
        else:
            self._json(fault.body, fault.status, fault.headers)

    def _cut(self) -> None:
        """A reset, not an orderly end: what is under way is lost."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    # -- answers

    def _json(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        fault = self.at_fault
        if fault and fault.lost_answer:
            raise _Cut
        self.send_response(status)
        named = {"Content-Length": str(len(content)), **(headers or {})}
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()
        self.answered = status
        if self.command == "HEAD":
            return
        if fault and fault.flip and content:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault and fault.reset_after is not None and self.command == "GET":
            self.wfile.write(content[: fault.reset_after])
            self.wfile.flush()
            raise _Cut
        self.wfile.write(content)

    # -- who asks

    def _user(self) -> User | None:
        given = self.headers.get("Authorization", "")
        if not given:
            return None
        user = self.hub.users.get(given.removeprefix("Bearer "))
        if user is None:
            raise _Refused(401, "Invalid credentials in Authorization header")
        return user

    def _repository(self, kind: str, name: str, *, write: bool = False) -> Repository:
        user = self._user()
        if new := self.hub.renamed.get((kind, name)):
            raise _Refused(307, f"moved to {new}", location=self.hub.endpoint + self.path.replace(name, new, 1))
        found = self.hub.repositories.get((kind, name))
        owner = name.split("/")[0]
        member = user is not None and owner in (user.name, *user.organizations)
        if found is None or (found.private and not member):
            # the Hub says 401 to strangers, whether it is private or not there
            raise _Refused(404 if user else 401, "Repository not found", "RepoNotFound")
        if write and not (member and user and user.write):
            raise _Refused(403, "Forbidden: you must use a write token to upload to a repository.")
        return found

    # -- requests

    def _route(self) -> None:
        self.url = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(self.url.query).items()}
        for methods, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, self.url.path)
            if found and self.command in methods.split():
                with self.hub.lock:
                    reply = answer(self, **{name: unquote(part or "") for name, part in found.groupdict().items()})
                content, status, headers = reply
                self._send(content, status, headers)
                return
        raise _Refused(404, f"no such address: {self.line}")

    def whoami(self) -> Any:
        user = self._user()
        if user is None:
            raise _Refused(401, "Invalid username or password.")
        orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in user.organizations]
        role = "write" if user.write else "read"
        return _reply({"type": "user", "name": user.name, "orgs": orgs, "auth": {"accessToken": {"role": role}}})

    def create(self) -> Any:
        asked = json.loads(self.body)
        user = self._user()
        if user is None:
            raise _Refused(401, "Invalid username or password.")
        owner = asked.get("organization") or user.name
        kind, name = asked.get("type") or "model", f"{owner}/{asked['name']}"
        if owner not in (user.name, *user.organizations) or not user.write:
            raise _Refused(403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
        url = f"{self.hub.endpoint}/{_prefix(kind)}{name}"
        if (kind, name) in self.hub.repositories:
            return _reply({"error": f"You already created this {kind} repo", "url": url}, 409)
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.hub.make(kind, name, {}, private=private)
        return _reply({"url": url, "name": name, "id": name, "private": private})

    def delete(self) -> Any:
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or getattr(self._user(), 'name', '')}/{asked['name']}"
        self._repository(asked.get("type") or "model", name, write=True)
        del self.hub.repositories[asked.get("type") or "model", name]
        return _reply({})

    def validate_yaml(self) -> Any:
        content = json.loads(self.body)["content"]
        found = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        if not found:
            return _reply({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
        try:
            front = yaml.safe_load(found[1])
        except yaml.YAMLError as error:
            return _reply({"errors": [{"message": f"YAML: {error}"}], "warnings": []}, 400)
        errors = [{"message": said} for said in _wrong_in(front)]
        return _reply({"errors": errors, "warnings": []}, 400 if errors else 200)

    def preupload(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name, write=True)
        head = _commit(repository, revision)
        files = []
        for asked in json.loads(self.body)["files"]:
            old = head.files.get(asked["path"])
            mode = "lfs" if _is_lfs(asked["path"], asked["size"]) else "regular"
            files.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False})
            if old is not None:
                files[-1]["oid"] = old.etag
        return _reply({"files": files, "commitOid": head.oid})

    def lfs_batch(self, kind: str, name: str) -> Any:
        repository = self._repository(kind, name, write=True)
        objects = []
        for asked in json.loads(self.body)["objects"]:
            if asked["oid"] in repository.lfs:
                objects.append(asked)
            else:
                # as on the Hub, the right to upload is in the address itself
                href = f"{self.hub.endpoint}/lfs/{kind}s/{name}/{asked['oid']}?X-Amz-Signature=5igned"
                objects.append({**asked, "authenticated": True, "actions": {"upload": {"href": href}}})
        return _reply({"transfer": "basic", "objects": objects})

    def lfs_put(self, kind: str, name: str, oid: str) -> Any:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Refused(400, "BadDigest: the content does not have the promised SHA-256")
        self.hub.repositories[kind, name].lfs[oid] = self.body
        return b"", 200, {"ETag": f'"{oid}"'}

    def commit(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name, write=True)
        head = _commit(repository, revision)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, head.oid):
            raise _Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for line in lines[1:]:
            _apply(files, line["key"], line["value"], repository)
        made = repository.commit(header["summary"], files)
        url = f"{self.hub.endpoint}/{_prefix(kind)}{name}/commit/{made.oid}"
        return _reply({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})

    def info(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name)
        commit = _commit(repository, revision or "main")
        siblings = [{"rfilename": path, **_lfs_of(blob, "sha256")} for path, blob in sorted(commit.files.items())]
        if self.query.get("blobs"):
            for sibling in siblings:
                blob = commit.files[sibling["rfilename"]]
                sibling |= {"size": blob.size, "blobId": blob.git_oid}
        return _reply(
            {
                "_id": "0" * 24,
                "id": name,
                "author": name.split("/")[0],
                "sha": commit.oid,
                "private": repository.private,
                "gated": False,
                "disabled": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "lastModified": "2026-01-01T00:00:00.000Z",
                "createdAt": "2026-01-01T00:00:00.000Z",
                "siblings": siblings,
            }
        )

    def tree(self, kind: str, name: str, revision: str, folder: str) -> Any:
        commit = _commit(self._repository(kind, name), revision)
        entries = _entries(commit, folder, recursive=self.query.get("recursive", "").lower() in ("1", "true"))
        if folder and not entries:
            raise _Refused(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
        start = int(self.query.get("cursor", 0))
        headers = {}
        if start + self.hub.page < len(entries):
            rest = "&".join(f"{key}={value}" for key, value in self.query.items() if key != "cursor")
            after = f"{self.hub.endpoint}{self.url.path}?{rest}&cursor={start + self.hub.page}"
            headers["Link"] = f'<{after}>; rel="next"'
        return _reply(entries[start : start + self.hub.page], 200, headers)

    def paths_info(self, kind: str, name: str, revision: str) -> Any:
        commit = _commit(self._repository(kind, name), revision)
        asked = (
            json.loads(self.body)["paths"]
            if "json" in self.headers.get("Content-Type", "")
            else parse_qs(self.body.decode()).get("paths", [])
        )
        known = {entry["path"]: entry for entry in _entries(commit, "", recursive=True)}
        return _reply([known[path.strip("/")] for path in asked if path.strip("/") in known])

    def refs(self, kind: str, name: str) -> Any:
        repository = self._repository(kind, name)
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.head.oid}
        tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": of} for tag, of in repository.tags.items()]
        return _reply({"branches": [branch], "converts": [], "tags": tags})

    def tag(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name, write=True)
        repository.tags[json.loads(self.body)["tag"]] = _commit(repository, revision).oid
        return _reply({})

    def commits(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name)
        last = repository.commits.index(_commit(repository, revision))
        return _reply(
            [
                {"id": one.oid, "title": one.title, "message": "", "authors": [], "date": "2026-01-01T00:00:00.000Z"}
                for one in reversed(repository.commits[: last + 1])
            ]
        )

    def resolve(self, prefix: str, name: str, revision: str, path: str) -> Any:
        repository = self._repository(prefix.rstrip("s/") or "model", name)
        commit = _commit(repository, revision)
        blob = commit.files.get(path)
        if blob is None:
            raise _Refused(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(blob.size)}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked or self.command == "HEAD":
            return (blob.content, 200, headers)
        start, end = int(asked[1]), min(int(asked[2] or blob.size - 1), blob.size - 1)
        if start >= blob.size:
            raise _Refused(416, "Requested range not satisfiable")
        return blob.content[start : end + 1], 206, {**headers, "Content-Range": f"bytes {start}-{end}/{blob.size}"}


def _reply(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Any:
    return json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})}


def _prefix(kind: str) -> str:
    return "" if kind == "model" else f"{kind}s/"


def _commit(repository: Repository, revision: str) -> Commit:
    found = repository.at(revision)
    if found is None:
        raise _Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return found


def _apply(files: dict[str, Blob], key: str, value: Mapping[str, Any], repository: Repository) -> None:
    path = value["path"]
    if key == "file":
        files[path] = Blob(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        if value["oid"] not in repository.lfs:
            raise _Refused(400, f"LFS pointer pointed to a file that does not exist: {path}")
        files[path] = Blob(repository.lfs[value["oid"]], lfs=True)
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise _Refused(404, "A file with this name doesn't exist", "EntryNotFound")
    elif key == "deletedFolder":
        for inside in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
            del files[inside]
    else:
        raise _Refused(400, f"unknown operation {key}")


def _entries(commit: Commit, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    start = folder.strip("/") + "/" if folder.strip("/") else ""
    entries: dict[str, dict[str, Any]] = {}
    for path, blob in sorted(commit.files.items()):
        if not path.startswith(start):
            continue
        parts = path[len(start) :].split("/")
        for depth in range(1, len(parts)) if recursive else range(1, min(2, len(parts))):
            inner = start + "/".join(parts[:depth])
            entries[inner] = {
                "type": "directory",
                "path": inner,
                "oid": hashlib.sha1(inner.encode()).hexdigest(),  # noqa: S324
                "size": 0,
            }
        if recursive or len(parts) == 1:
            entries[path] = {
                "type": "file",
                "path": path,
                "size": blob.size,
                "oid": blob.git_oid,
                **_lfs_of(blob, "oid"),
            }
    return list(entries.values())


def _lfs_of(blob: Blob, name: str) -> dict[str, Any]:
    said = {"lfs": {name: blob.sha256, "size": blob.size, "pointerSize": len(blob.pointer)}}
    return said if blob.lfs else {}


def _wrong_in(front: Any) -> Iterator[str]:
    """What the Hub itself refuses in front matter, of the fields that this project writes."""
    if not isinstance(front, dict):
        yield "metadata must be an object"
        return
    index = front.get("model-index")
    for entry in index or []:
        if not entry.get("name"):
            yield '"model-index[0].name" is required'
        for result in entry.get("results", []):
            if not result.get("task", {}).get("type"):
                yield '"model-index[0].results[0].task.type" is required'
            if not result.get("dataset", {}).get("type") or not result.get("dataset", {}).get("name"):
                yield '"model-index[0].results[0].dataset" needs name and type'
            for metric in result.get("metrics", []):
                if not metric.get("type") or "value" not in metric:
                    yield '"model-index[0].results[0].metrics[0]" needs type and value'
    licence = front.get("license")
    if licence is not None and not re.fullmatch(r"[a-z0-9.\-]+", str(licence)):
        yield f'"license" must be one of the identifiers of the Hub, got {licence!r}'


_REPO = r"/api/(?P<kind>model|dataset)s/(?P<name>[^/]+/[^/]+)"
_ROUTES = (
    ("GET", r"/api/whoami-v2", _Handler.whoami),
    ("POST", r"/api/repos/create", _Handler.create),
    ("DELETE", r"/api/repos/delete", _Handler.delete),
    ("POST", r"/api/validate-yaml", _Handler.validate_yaml),
    ("POST", _REPO + r"/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    ("POST", _REPO + r"/commit/(?P<revision>[^/]+)", _Handler.commit),
    ("GET", _REPO + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?", _Handler.tree),
    ("POST", _REPO + r"/paths-info/(?P<revision>[^/]+)", _Handler.paths_info),
    ("GET", _REPO + r"/refs", _Handler.refs),
    ("POST", _REPO + r"/tag/(?P<revision>[^/]+)", _Handler.tag),
    ("GET", _REPO + r"/commits/(?P<revision>[^/]+)", _Handler.commits),
    ("GET", _REPO + r"(?:/revision/(?P<revision>[^/]+))?", _Handler.info),
    (
        "POST",
        r"/(?:(?P<kind>dataset)s/)?(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch",
        lambda self, kind, name: self.lfs_batch(kind or "model", name),
    ),
    ("PUT", r"/lfs/(?P<kind>model|dataset)s/(?P<name>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})", _Handler.lfs_put),
    (
        "GET HEAD",
        r"/(?P<prefix>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
        _Handler.resolve,
    ),
)
