"""Checkpoints that cannot be read, or not without running them: what is refused, and what the message proposes."""

from __future__ import annotations

import argparse
import pickle
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from minchange_eval.core.errors import UsageError
from minchange_eval.model_adapters.weights import check_readable

STATE = {f"layer{number}.weight": torch.full((8, 8), float(number)) for number in range(4)}
FORMATS = {"zip": True, "before torch 1.6": False}


class Harmful:
    """A pickle that writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def saved(path: Path, content: Any, *, as_zip: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    return path


def proposed_command(path: Path) -> list[str]:
    with pytest.raises(UsageError) as error:
        check_readable(path)
    assert "\n" not in str(error.value)
    return shlex.split(str(error.value).partition("use the result: ")[2])


@pytest.mark.parametrize("as_zip", FORMATS.values(), ids=FORMATS)
def test_tensors_only_are_read_in_every_format_of_torch(tmp_path: Path, as_zip: bool) -> None:
    check_readable(saved(tmp_path / "w.pt", STATE, as_zip=as_zip))


@pytest.mark.parametrize("as_zip", FORMATS.values(), ids=FORMATS)
def test_the_proposed_command_converts_what_holds_more_than_tensors(tmp_path: Path, as_zip: bool) -> None:
    content = {"state_dict": {f"module.{k}": v for k, v in STATE.items()}, "args": argparse.Namespace(a=1)}
    command = proposed_command(saved(tmp_path / "it's $HOME.pt", content, as_zip=as_zip))
    subprocess.run([sys.executable, *command[1:]], check=True)
    converted = load_file(tmp_path / "it's $HOME.safetensors")
    assert all(torch.equal(converted[name], STATE[name]) for name in {*STATE, *converted})


def test_a_file_name_is_never_run_by_the_shell(tmp_path: Path) -> None:
    path = saved(tmp_path / "$(touch PWNED)`touch PWNED`.pt", {"args": argparse.Namespace()}, as_zip=True)
    with pytest.raises(UsageError) as error:
        check_readable(path)
    command = str(error.value).partition("use the result: ")[2].replace("python", "true", 1)
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_harmful_pickle_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"harm": Harmful(tmp_path / "ran")}, protocol=2))
    with pytest.raises(UsageError, match="reading it can run any program"):
        check_readable(tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()


def test_the_proposed_command_converts_a_torchscript_archive(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is on its way out
        layer = torch.nn.Linear(2, 2)
        layer.register_buffer("context_length", torch.tensor(77))
        torch.jit.save(torch.jit.script(layer), tmp_path / "w.pt")
    command = proposed_command(tmp_path / "w.pt")
    assert "weights_only=False" not in " ".join(command)
    subprocess.run([sys.executable, "-W", "ignore", *command[1:]], check=True)
    assert set(load_file(tmp_path / "w.safetensors")) == {"weight", "bias"}


@pytest.mark.parametrize(
    ("content", "as_zip"),
    [(STATE, True), (STATE, False), ({**STATE, "args": argparse.Namespace(a=1)}, True)],
    ids=["tensors", "tensors, before torch 1.6", "more than tensors"],
)
def test_a_file_cut_off_anywhere_is_called_damaged(tmp_path: Path, content: Any, as_zip: bool) -> None:
    whole = saved(tmp_path / "w.pt", content, as_zip=as_zip).read_bytes()
    for length in range(0, len(whole), 29):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(UsageError, match=r"cut off, damaged or no checkpoint.*get the file again"):
            check_readable(tmp_path / "cut.pt")


@pytest.mark.parametrize("content", [b"<html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", b""])
@pytest.mark.parametrize("name", ["w.pt", "w.bin", "w", "w.safetensors"])
def test_what_is_no_checkpoint_is_called_so(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match="cut off, damaged or no checkpoint"):
        check_readable(tmp_path / name)


def test_a_safetensors_file_that_is_cut_off_is_called_damaged(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    check_readable(tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[:-1])
    with pytest.raises(UsageError, match="cut off, damaged"):
        check_readable(tmp_path / "w.safetensors")
