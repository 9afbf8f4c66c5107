from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from minchange_eval.model_adapters import arithmetic
from minchange_eval.model_adapters.arithmetic import cores_of_quota, hardware, lanes, same_bits

CPU = torch.device("cpu")


def switches() -> dict[str, object]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "float32_matmul": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "tf32": (matmul.allow_tf32, cudnn.allow_tf32),
        "timed": (cudnn.benchmark, not cudnn.deterministic),
        "reductions": (matmul.allow_fp16_reduced_precision_reduction, matmul.allow_bf16_reduced_precision_reduction),
    }


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_float32_is_full_float32_inside_whatever_was_imported_before(precision: str) -> None:
    untouched = switches()
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.benchmark = True
    before = switches()
    with same_bits(CPU):
        assert switches() == {
            "float32_matmul": "highest",
            "threads": 1,
            "tf32": (False, False),
            "timed": (False, False),
            "reductions": (True, True),
        }
    assert switches() == before
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark = False
    assert switches() == untouched


def test_switches_are_turned_back_after_an_error() -> None:
    before = switches()
    with pytest.raises(KeyboardInterrupt), same_bits(CPU):
        raise KeyboardInterrupt
    assert switches() == before


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="a torch without these switches")
def test_switches_of_newer_kind_that_the_older_cannot_read_are_no_error() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    with same_bits(CPU):
        assert torch.get_float32_matmul_precision() == "highest"
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_container_is_not_given_more_forwards_than_its_quota_of_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int | None
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(arithmetic, "CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert cores_of_quota() == cores
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert lanes(CPU) == (cores or 64)
    assert lanes(torch.device("cuda")) == 1


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="no /proc/cpuinfo")
def test_hardware_names_the_processor_and_its_instruction_set() -> None:
    name, _, instructions = hardware(CPU).rpartition(", ")
    assert name in Path("/proc/cpuinfo").read_text()
    assert instructions == torch.backends.cpu.get_cpu_capability()
