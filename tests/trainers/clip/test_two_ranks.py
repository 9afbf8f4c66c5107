"""Two processes over gloo against one on the same global batches: losses, gradients, weights.

Run as a script this file is the ranks; the tests start it once and compare what the ranks wrote. Three ranks are there
for the losses whose candidates go round: with two, both neighbours are one.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn
from torch.nn.functional import normalize

from minchange_eval.core.errors import ModelError
from minchange_eval.trainers.clip import losses
from minchange_eval.trainers.clip.batches import PLAIN, Batch
from minchange_eval.trainers.clip.gather import World, gather_rows
from minchange_eval.trainers.clip.objectives import OBJECTIVES
from minchange_eval.trainers.clip.plan import BatchPlan, MemberKey
from minchange_eval.trainers.clip.step import TrainStep, adamw

SIZES = [2, 9, 3, 4, 2, 5, 3, 8]
CONTEXT, EDGE, WIDTH = 6, 16, 16
# sets and pairs in a batch; in the second one rank has no set, in the third there are no pairs
BATCHES = {"mixed": (4, 7), "one set": (1, 4), "sets only": (3, 0)}
LOSSES = [("clip", False), ("clip", True), ("siglip", True)]
STEPS, RATE = 5, 1e-3


@dataclass(frozen=True)
class Case:
    objective: str
    loss: Any
    local: bool
    batch: str = "mixed"
    accumulate: int = 1

    def __str__(self) -> str:
        local = " local" if self.local else ""
        return f"{self.objective} {self.loss}{local}, {self.batch}, {self.accumulate}"


GRADIENTS = [Case(name, loss, local) for name, (loss, local) in product(OBJECTIVES, LOSSES)]
GRADIENTS += [
    Case("spec", loss, local, batch, accumulate)
    for (loss, local), batch, accumulate in product(LOSSES, ["one set", "sets only"], [1, 2])
]
GRADIENTS += [Case(name, "clip", False, accumulate=3) for name in OBJECTIVES]
ROUND = [Case(name, loss, True) for name, loss in product(("spec", "vismin"), ("clip", "siglip"))]
TRAININGS = [Case("spec", "clip", True), Case("spec", "siglip", True, accumulate=2), Case("vismin", "clip", False)]


class Towers(nn.Module):
    """A CLIP of two small transformers with a bias; open_clip's own takes each rank seconds to import."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.patches = nn.Conv2d(3, WIDTH, kernel_size=8, stride=8)
            self.words = nn.Embedding(30, WIDTH)
            self.places = nn.ParameterList(torch.randn(length, WIDTH) * 0.1 for length in (4, CONTEXT))
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
                for _ in range(2)
            )
            self.projections = nn.ModuleList(nn.Linear(WIDTH, 8, bias=False) for _ in range(2))
        self.logit_scale = nn.Parameter(torch.tensor(2.6))
        self.logit_bias = nn.Parameter(torch.tensor(-5.0))
        self.to(dtype)

    def forward(self, images: dict[str, Tensor], texts: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        patches = self.patches(images["image"]).flatten(2).transpose(1, 2)
        rows = [
            normalize(projection(layer(tokens + places).mean(1)), dim=-1)
            for tokens, places, layer, projection in zip(
                (patches, self.words(texts["text"])), self.places, self.layers, self.projections, strict=True
            )
        ]
        return rows[0], rows[1], self.logit_scale.exp(), self.logit_bias


def _row(key: MemberKey) -> tuple[Tensor, Tensor]:
    """The image and the caption of a member, the same wherever it is asked for."""
    generator = torch.Generator().manual_seed(1000 * key.number + 10 * key.member + (key.source == "pair"))
    image = torch.randn(3, EDGE, EDGE, generator=generator, dtype=torch.float64)
    return image, torch.randint(1, 30, (CONTEXT,), generator=generator)


def _batch(case: Case, step: int, world: World, dtype: torch.dtype) -> Batch:
    sets, pairs = BATCHES[case.batch]
    members = OBJECTIVES[case.objective].members
    plan = BatchPlan(SIZES, ["a", "b"] * 4, 20, sets_per_batch=sets, pairs_per_batch=pairs, seed=3, members=members)
    keys = plan.at(step, world.rank, world.size).members
    images, texts = zip(*(_row(key) for key in keys), strict=True)
    return Batch(
        {"image": torch.stack(images).to(dtype)},
        {"text": torch.stack(texts)},
        torch.tensor([key.number if key.source == "set" else PLAIN for key in keys]),
        torch.tensor([key.is_anchor for key in keys]),
    )


def _trained(case: Case, world: World, dtype: torch.dtype, steps: int, rate: float) -> dict[str, Tensor]:
    """Losses, gradients of the last step and weights."""
    towers = Towers(dtype)
    wrapped = nn.parallel.DistributedDataParallel(towers) if world.size > 1 else towers
    objective = replace(OBJECTIVES[case.objective], loss=case.loss, local_loss=case.local)
    optimizer = adamw(towers.parameters(), learning_rate=rate, weight_decay=0.1, beta1=0.9, beta2=0.98, epsilon=1e-6)
    take = TrainStep(wrapped, optimizer, objective, towers.logit_scale, accumulate=case.accumulate, world=world)
    told = [take.take(step + 1, _batch(case, step, world, dtype), rate) for step in range(steps)]
    found = {f"gradient {name}": part.grad for name, part in towers.named_parameters() if part.grad is not None}
    found |= {f"weight {name}": part.detach() for name, part in towers.named_parameters()}
    found["losses"] = torch.tensor([list(values.values()) for values in told], dtype=torch.float64)
    return {name: values.clone().contiguous() for name, values in found.items()}


def _gathered(world: World) -> dict[str, Tensor]:
    """Rows of ranks that have three and none, or two and five, and their gradients."""
    found = {}
    for name, counts in (("none", (3, 0)), ("uneven", (2, 5))):
        rows = (torch.arange(counts[world.rank] * 2.0).view(-1, 2) + 100 * world.rank).requires_grad_()
        everyone = gather_rows(rows, counts, world)
        (everyone * (torch.arange(len(everyone)) + 1)[:, None] * (world.rank + 1)).sum().backward()
        assert rows.grad is not None
        found |= {f"{name} rows": everyone.detach(), f"{name} gradient": rows.grad}
    return found


def _poisoned(world: World) -> str:
    """What happens when the loss of the second rank alone is not a number."""
    case = Case("full_sets", "siglip", True)
    towers = Towers(torch.float32)
    batch = _batch(case, 0, world, torch.float32)
    if world.rank == 1:
        batch.images["image"][0] = torch.nan
    objective = replace(OBJECTIVES["full_sets"], loss="siglip")
    optimizer = torch.optim.SGD(towers.parameters(), lr=0.1)
    step = TrainStep(nn.parallel.DistributedDataParallel(towers), optimizer, objective, towers.logit_scale, world=world)
    try:
        step.take(7, batch, 0.1)
    except ModelError as error:
        return str(error)
    return "nothing"


@contextmanager
def _small_chunks() -> Iterator[None]:
    before, losses.CHUNK_ROWS = losses.CHUNK_ROWS, 3
    try:
        yield
    finally:
        losses.CHUNK_ROWS = before


def _gradients(cases: Sequence[Case], world: World) -> dict[str, Tensor]:
    found = {}
    for case in cases:
        found |= {f"{case}: {name}": part for name, part in _trained(case, world, torch.float64, 1, 0.0).items()}
    return found


def _everything(world: World) -> dict[str, Tensor]:
    with _small_chunks():
        found = _gradients(GRADIENTS, world)
        for case in TRAININGS:
            trained = _trained(case, world, torch.float32, STEPS, RATE)
            found |= {f"trained {case}: {name}": part for name, part in trained.items()}
    return found


def _be_a_rank(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meet = f"file://{folder}/meet{size}"
    distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=size, timeout=timedelta(seconds=60))
    world = World.here()
    if size == 2:
        save_file(_everything(world) | _gathered(world), folder / f"{rank}.safetensors")
        (folder / f"{rank}.txt").write_text(_poisoned(world))
    else:
        with _small_chunks():
            save_file(_gradients(ROUND, world), folder / f"{rank}_of_{size}.safetensors")
    distributed.destroy_process_group()


def _be_all_ranks(folder: Path) -> None:
    """Forked, so that torch is imported once."""
    for size in (2, 3):
        context = multiprocessing.get_context("fork")
        ranks = [context.Process(target=_be_a_rank, args=(rank, size, folder)) for rank in range(size)]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join()
        if any(rank.exitcode for rank in ranks):
            sys.exit(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the ranks wrote what they found."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, __file__, str(folder)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def of_two(folder: Path) -> list[dict[str, Tensor]]:
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


@pytest.fixture(scope="module")
def of_one() -> dict[str, Tensor]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _everything(World())
    finally:
        torch.set_num_threads(threads)


def _of(found: dict[str, Tensor], case: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{case}: "): values for name, values in found.items() if name.startswith(f"{case}: ")}


def test_the_ranks_have_different_numbers_of_rows() -> None:
    rows = {
        name: [len(_batch(Case("spec", "clip", False, name), 0, World(rank, 2), torch.float32)) for rank in range(2)]
        for name in BATCHES
    }
    assert all(first != second for first, second in rows.values()), rows


@pytest.mark.parametrize("case", GRADIENTS, ids=str)
def test_the_gradient_of_two_ranks_is_that_of_one(
    case: Case, of_one: dict[str, Tensor], of_two: list[dict[str, Tensor]]
) -> None:
    alone = _of(of_one, str(case))
    assert any(name.startswith("gradient") and values.abs().max() > 1e-3 for name, values in alone.items())
    for rank in of_two:
        together = _of(rank, str(case))
        assert set(together) == set(alone)
        for name, values in alone.items():
            torch.testing.assert_close(together[name], values, rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("case", ROUND, ids=str)
def test_the_gradient_of_three_ranks_is_that_of_one(case: Case, of_one: dict[str, Tensor], folder: Path) -> None:
    for rank in range(3):
        together = _of(load_file(folder / f"{rank}_of_3.safetensors"), str(case))
        for name, values in _of(of_one, str(case)).items():
            torch.testing.assert_close(together[name], values, rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("case", [case for case in GRADIENTS if case.accumulate > 1], ids=str)
def test_a_batch_in_parts_has_the_gradient_of_the_whole(case: Case, of_one: dict[str, Tensor]) -> None:
    whole = _of(of_one, str(replace(case, accumulate=1)))
    for name, values in _of(of_one, str(case)).items():
        torch.testing.assert_close(values, whole[name], rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_local_loss_has_the_gradient_of_the_whole_matrix(name: str, of_one: dict[str, Tensor]) -> None:
    whole = _of(of_one, str(Case(name, "clip", False)))
    for part, values in _of(of_one, str(Case(name, "clip", True))).items():
        torch.testing.assert_close(values, whole[part], rtol=1e-9, atol=1e-11, msg=part)


@pytest.mark.parametrize("case", TRAININGS, ids=str)
def test_training_on_two_ranks_gives_the_weights_of_one(
    case: Case, of_one: dict[str, Tensor], of_two: list[dict[str, Tensor]]
) -> None:
    alone, first, second = (_of(found, f"trained {case}") for found in (of_one, *of_two))
    started = {f"weight {name}": values for name, values in Towers(torch.float32).named_parameters()}
    assert alone["losses"].shape[0] == STEPS
    for name, values in started.items():
        assert torch.equal(first[name], second[name])
        if name.endswith("in_proj_bias"):  # the keys' bias cancels in the softmax: its gradient is rounding, which
            keys = slice(WIDTH, 2 * WIDTH)  # Adam makes as large as any, and no output depends on it
            assert (first[name][keys] - alone[name][keys]).abs().max() <= STEPS * RATE
            first[name][keys] = alone[name][keys]
        torch.testing.assert_close(first[name], alone[name], rtol=1e-5, atol=RATE / 50, msg=name)
        if name != "weight logit_bias" or case.loss == "siglip":
            assert (alone[name] - values).abs().max() > RATE


def test_rows_are_gathered_in_the_order_of_the_ranks_with_the_sum_of_their_gradients(
    of_two: list[dict[str, Tensor]],
) -> None:
    for rank, found in enumerate(of_two):
        assert found["none rows"].tolist() == [[0, 1], [2, 3], [4, 5]]
        assert found["uneven rows"][:, 0].tolist() == [0, 2, 100, 102, 104, 106, 108]
        # the first rank weighs row r with r + 1, the second with twice as much
        assert found["none gradient"].tolist() == [[[3, 3], [6, 6], [9, 9]], []][rank]
        own = range(2) if rank == 0 else range(2, 7)
        assert found["uneven gradient"].tolist() == [[3 * (row + 1)] * 2 for row in own]


def test_a_loss_that_is_no_number_on_one_rank_stops_both(folder: Path) -> None:
    told = [(folder / f"{rank}.txt").read_text() for rank in range(2)]
    assert told[0] == told[1]
    assert "step 7: the loss is nan" in told[0]


if __name__ == "__main__":
    _be_all_ranks(Path(sys.argv[1]))
