"""A home that only others may write to, for a user without root's power to write anyway."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minchange_eval.core.errors import ExitCode
from minchange_eval.data.prepare import prepare
from tests.data.official_layouts import write_spec_release, write_vismin_release

READ_ALL = """
from minchange_eval.data.store import Store
items = Store.open("spec").items()
print(sum(len(image.read()) > 0 for item in items for image in item.images))
"""
PR_CAPBSET_DROP, DAC_OVERRIDE, DAC_READ_SEARCH = 24, 1, 2


def without_roots_power() -> None:
    """In the child, before exec: root without the capability that makes it ignore permissions."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (DAC_OVERRIDE, DAC_READ_SEARCH):
            assert libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        preexec_fn=without_roots_power,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def read_only_home(store_home: Path, tmp_path: Path) -> Iterator[Path]:
    prepare("spec", write_spec_release(tmp_path / "release", subsets=("count",)))
    folders = [store_home, *(path for path in store_home.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield store_home
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_a_store_that_may_not_be_written_to_is_read(read_only_home: Path) -> None:
    done = run("-c", READ_ALL)
    assert (done.returncode, done.stdout) == (0, "18\n"), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_preparing_into_it_is_one_line_that_says_what_to_do(read_only_home: Path, tmp_path: Path) -> None:
    release = write_vismin_release(tmp_path / "vismin")
    done = run("-m", "minchange_eval.cli.main", "prepare", "vismin", "--source", str(release))
    assert done.returncode == ExitCode.USAGE
    assert "set MINCHANGE_HOME to a folder you may write to" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
