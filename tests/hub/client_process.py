"""Processes of their own that speak with a `LocalHub` through the real huggingface_hub."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hub.server import LocalHub

REPOSITORY = Path(__file__).parents[2]


def python(hub: LocalHub, source: str, token: str | None, home: Path, **environment: str) -> str:
    """Run Python source with the Hub's environment; what it printed.

    Raises:
        AssertionError: it failed, with its output.
    """
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, **hub.environment(token, home), "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Done:
    """What a command left: exit code (negative: the signal that ended it), its outputs."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of an error."""
        lines = self.err.strip().splitlines()
        assert lines, "no error was told"
        assert "Traceback" not in self.err, self.err
        return lines[-1].removeprefix("minchange-eval: ")


class Commands:
    """Runs `minchange-eval` against a local Hub, as a user with a token and an own cache."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self._folder = folder
        self._number = 0
        self._under_way: Started | None = None
        self._zygote = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "HF_ENDPOINT": endpoint,
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(REPOSITORY),
            },
        )
        assert self._line() == "ready"

    def close(self) -> None:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait(30)
        self._zygote.stdout.close()

    def start(self, argv: Sequence[object], env: dict[str, str], cwd: Path) -> Started:
        if self._under_way:  # of a test that failed before it was over
            self._under_way.kill()
        self._number += 1
        out, err = (self._folder / f"{self._number}.{name}" for name in ("out", "err"))
        request = {"argv": [str(word) for word in argv], "env": env, "out": str(out), "err": str(err), "cwd": str(cwd)}
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps(request) + "\n")
        self._zygote.stdin.flush()
        self._under_way = Started(int(self._line()), self, out, err)
        return self._under_way

    def exit_code(self) -> int:
        """Of the command under way, when it ends."""
        code = int(self._line())
        self._under_way = None
        return code

    def _line(self) -> str:
        assert self._zygote.stdout is not None
        return self._zygote.stdout.readline().strip()


@dataclass(frozen=True)
class Started:
    """A command under way."""

    pid: int
    commands: Commands
    out: Path
    err: Path

    def kill(self) -> Done:
        """As `kill -9`, or the power, would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.done()

    def interrupt(self) -> Done:
        """As Ctrl-C does."""
        os.kill(self.pid, signal.SIGINT)
        return self.done()

    def done(self) -> Done:
        return Done(self.commands.exit_code(), *(path.read_text(errors="replace") for path in (self.out, self.err)))


@dataclass
class Person:
    """Somebody at a machine: a token, an own cache of the Hub's library, a folder to work in."""

    commands: Commands
    hub: LocalHub
    folder: Path
    token: str | None

    def start(self, *argv: object, **environment: str) -> Started:
        home = self.folder / "huggingface"
        env = {**self.hub.environment(self.token, home), "MINCHANGE_HOME": str(self.folder / "home"), **environment}
        return self.commands.start(argv, env, self.folder)

    def run(self, *argv: object, **environment: str) -> Done:
        return self.start(*argv, **environment).done()
