from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from minchange_eval.core.errors import DataError, MinchangeError, UsageError
from minchange_eval.trainers.clip.state import (
    OPTIMIZER,
    WEIGHTS,
    Facts,
    StateFolder,
    moments_of,
    put_moments,
    random_states_kept,
    read_facts,
    read_tensors,
    weights_of,
)


@pytest.fixture
def states(tmp_path: Path) -> Iterator[StateFolder]:
    folder = StateFolder(tmp_path)
    folder.lock()
    yield folder
    folder.unlock()


def facts(step: int) -> Facts:
    return Facts(step=step, config={"seed": 0}, data={}, log_bytes=12, evaluations={0: {"zero_shot": 0.5}})


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(1))  # the global generators are meant


def test_an_optimizer_goes_on_from_its_saved_moments_as_if_it_had_not_stopped(states: StateFolder) -> None:
    def stepped(weights: torch.nn.Linear, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        weights(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()

    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    stepped(model, optimizer)
    state = states.save(facts(1), weights_of(model), moments_of(optimizer), None)
    again = torch.nn.Linear(3, 2)
    again.load_state_dict(read_tensors(state, WEIGHTS))
    fresh = torch.optim.AdamW(again.parameters(), lr=0.1)
    put_moments(fresh, read_tensors(state, OPTIMIZER))
    stepped(model, optimizer)
    stepped(again, fresh)
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True))
    assert read_facts(state) == facts(1)


def test_the_newest_complete_state_is_read_and_unfinished_ones_never(states: StateFolder) -> None:
    assert states.newest() is None
    for step in (9, 10):
        states.save(facts(step), {}, {}, None)
    (states.folder / "step-000000011.part").mkdir()
    newest = states.newest()
    assert newest is not None
    assert newest.name == "step-000000010"
    assert [path.name for path in sorted(states.folder.glob("step-*"))] == ["step-000000010", "step-000000011.part"]


def test_a_step_can_be_saved_again_with_more_evaluated(states: StateFolder) -> None:
    states.save(facts(4), {}, {}, None)
    later = facts(4).model_copy(update={"evaluated_at": 4})
    state = states.save(later, {}, {}, {"a": torch.ones(1)})
    assert read_facts(state) == later
    assert [path.name for path in states.folder.glob("step-*")] == ["step-000000004"]


def test_two_trainings_cannot_have_one_folder(states: StateFolder) -> None:
    second = StateFolder(states.folder.parent)
    with pytest.raises(UsageError, match="another process is training into this folder"):
        second.lock()
    second.unlock()


def test_a_state_that_cannot_be_written_leaves_nothing_and_is_one_error(states: StateFolder) -> None:
    states.save(facts(1), {}, {}, None)
    (states.folder / "step-000000002.part").write_text("a file in the way")
    with pytest.raises(MinchangeError, match="that of step 1 is kept"):
        states.save(facts(2), {}, {}, None)


@pytest.mark.parametrize("content", [None, "{", '{"step": 1}'])
def test_broken_facts_are_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "state.json").write_text(content)
    with pytest.raises(DataError, match=r"state\.json: no state of a training .*--force"):
        read_facts(tmp_path)


def test_a_state_of_another_version_is_refused_whatever_else_it_holds(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"version": 2, "moments": "elsewhere"}')
    with pytest.raises(DataError, match=r"state\.json: is of version 2, expected 1; go on with the"):
        read_facts(tmp_path)


def test_what_is_drawn_aside_changes_nothing_of_what_is_drawn_after() -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    expected = drawn()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    with random_states_kept():
        drawn()
    assert drawn() == expected
