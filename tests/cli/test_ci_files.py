"""The action and the example workflow, as far as they can be run without a CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from minchange_eval.core.record import write_record
from minchange_eval.reports.policy import read_policy
from tests.reports.made_records import OTHER, questions, record

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / "examples" / "ci" / "gate.yml").read_text(encoding="utf-8"))
HALF = [number % 2 > 0 for number in range(300)]


def step_of(steps: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [step for step in steps if name in (step.get("id"), step.get("name"))]
    return found


def run_action(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """The action's own script, with a command `minchange-eval` that is this package's."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    (folder / "bin").mkdir()
    command = folder / "bin" / "minchange-eval"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m minchange_eval.cli.main "$@"\n')
    command.chmod(0o755)
    given = {name: str(about.get("default", "")) for name, about in ACTION["inputs"].items()} | inputs
    variables = {
        name: given[value.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, value in step_of(ACTION["runs"]["steps"], "gate")["env"].items()
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step_of(ACTION["runs"]["steps"], "gate")["run"]],
        cwd=folder,
        env={
            **os.environ,
            **variables,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_OUTPUT": str(folder / "output.txt"),
        },
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("lost", "inputs", "code", "said"),
    [
        (0, {"policy": "p.yaml"}, 0, "Gate: pass (exit 0)"),
        (60, {}, 1, "Gate: regression (exit 1)"),
        (0, {"margin": "0", "undecided": "fail"}, 6, "Gate: undecided (exit 6)"),
        (0, {"candidate": "$(touch stolen)`touch stolen`;'\""}, 5, "Gate: no decision (exit 5, bad data)"),
    ],
)
def test_the_action_ends_with_the_exit_code_of_the_gate_and_shows_why(
    tmp_path: Path, lost: int, inputs: dict[str, str], code: int, said: str
) -> None:
    (tmp_path / "p.yaml").write_text("margin: 0.05\n")
    write_record(record(quiz=questions(HALF)), tmp_path / "base.jsonl.gz")
    write_record(
        record(quiz=questions([hit and n >= 2 * lost for n, hit in enumerate(HALF)]), model=OTHER), tmp_path / "c"
    )
    done = run_action(tmp_path, **{"baseline": "base.jsonl.gz", "candidate": "c"} | inputs)
    assert done.returncode == code, done.stderr
    assert said in (tmp_path / "summary.md").read_text(encoding="utf-8")
    outputs = dict(line.split("=", 1) for line in (tmp_path / "output.txt").read_text().splitlines())
    assert outputs == {"exit-code": str(code), "json": "gate/gate.json", "junit": "gate/gate.xml"}
    assert all((tmp_path / outputs[name]).exists() for name in ("json", "junit"))
    assert not (tmp_path / "stolen").exists()


def test_no_script_has_an_expression_in_it() -> None:
    scripts = [step["run"] for step in (*ACTION["runs"]["steps"], *WORKFLOW["jobs"]["gate"]["steps"]) if "run" in step]
    assert len(scripts) == 4
    assert not any("${{" in script for script in scripts)


def test_the_workflow_gives_the_action_what_it_takes() -> None:
    given = step_of(WORKFLOW["jobs"]["gate"]["steps"], "Gate")["with"]
    assert set(given) <= set(ACTION["inputs"])
    assert {name for name, about in ACTION["inputs"].items() if about.get("required")} <= set(given)


def test_the_example_policy_is_for_the_tasks_of_the_workflow_and_the_example_baseline() -> None:
    from minchange_eval.core.record import read_record
    from minchange_eval.reports.pairing import benchmarks_of

    policy = read_policy(ROOT / "examples" / "ci" / "gate_policy.yaml")
    baseline = read_record(ROOT / "examples" / "ci" / "baseline.jsonl.gz")
    assert baseline.slim_of
    assert set(policy.benchmarks) == set(WORKFLOW["env"]["TASKS"].split(",")) == set(benchmarks_of(baseline))
