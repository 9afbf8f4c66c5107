from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from minchange_eval.data.releases import vismin
from minchange_eval.data.store import Store
from tests.data.official_layouts import write_vismin_release

pytest.importorskip("huggingface_hub")
REVISION = vismin.release().revision


class Hub(ThreadingHTTPServer):
    """A stand-in for the Hub that holds one data set at one revision."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder = folder
        self.asked: list[str] = []


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(path)
        files = {p.relative_to(self.server.folder).as_posix(): p for p in self.server.folder.rglob("*") if p.is_file()}
        repo = "datasets/mair-lab/vismin-bench"
        if path == f"/api/{repo}/revision/{REVISION}":
            names = [{"rfilename": name} for name in files]
            self._send(
                json.dumps({"id": "mair-lab/vismin-bench", "sha": REVISION, "siblings": names}).encode(), {}, body
            )
        elif path.startswith(f"/api/{repo}/tree/{REVISION}"):
            entries = [
                {
                    "type": "file",
                    "path": name,
                    "size": file.stat().st_size,
                    "oid": hashlib.sha256(name.encode()).hexdigest()[:40],
                }
                for name, file in files.items()
            ]
            self._send(json.dumps(entries).encode(), {}, body)
        elif (name := path.removeprefix(f"/{repo}/resolve/{REVISION}/")) in files:
            data = files[name].read_bytes()
            tag = f'"{hashlib.sha256(data).hexdigest()}"'
            self._send(data, {"X-Repo-Commit": REVISION, "ETag": tag, "X-Linked-Size": str(len(data))}, body)
        else:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send(self, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    server = Hub(write_vismin_release(tmp_path / "hub", 2))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def prepare_vismin(tmp_path: Path, hub: Hub, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **more,
    }
    arguments = [sys.executable, "-m", "minchange_eval.cli.main", "prepare", "vismin", "--force"]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)


def test_vismin_is_downloaded_at_the_known_revision_and_then_works_offline(tmp_path: Path, hub: Hub) -> None:
    done = prepare_vismin(tmp_path, hub)
    assert done.returncode == 0, done.stderr
    card = Store.open("vismin").card
    assert (card.items, card.revision) == (8, REVISION)
    assert not card.verified  # 8 of 2,084
    hub.asked.clear()
    done = prepare_vismin(tmp_path, hub, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert hub.asked == []


def test_offline_without_a_cache_asks_nothing(tmp_path: Path, hub: Hub) -> None:
    done = prepare_vismin(tmp_path, hub, HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert hub.asked == []
