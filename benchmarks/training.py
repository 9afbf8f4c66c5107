"""What a training step costs beside a plain one, loading and memory: `python -m benchmarks.training`.

python -m benchmarks.training steps      # a step with hard negatives / a plain contrastive step, same rows
python -m benchmarks.training loading    # share of the time that the model computes, with real files
python -m benchmarks.training memory     # peak memory against the rows of a batch
python -m benchmarks.training trainer    # images a second against open_clip's own trainer
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.generated_release import write_release
from benchmarks.models import MODELS, model_folder
from benchmarks.process import Clock, measured, resident_mb

if TYPE_CHECKING:
    import torch

    from minchange_eval.model_adapters.encoder import Encoder
    from minchange_eval.trainers.clip.batches import Batch
    from minchange_eval.trainers.clip.step import TrainStep

K = (3, 3, 9, 4, 2, 9)  # members of SPEC's sets
TRAINED = (*MODELS, "tiny-vit")


def main() -> None:
    """Measure one thing and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["steps", "loading", "memory", "trainer"])
    parser.add_argument("--model", choices=TRAINED, default="minchange-tiny")
    parser.add_argument("--rounds", type=int, default=20, help="steps of each kind, that take turns")
    parser.add_argument("--sets", type=int, default=24, help="of a batch")
    parser.add_argument("--pairs", type=int, default=128, help="of a batch")
    parser.add_argument("--pictures", type=int, default=600, help="on disk, for loading and trainer")
    parser.add_argument("--edge-px", type=int, default=512, help="of those")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        {"steps": steps, "loading": loading, "memory": memory, "trainer": trainer}[args.what](args, Path(scratch))


def steps(args: argparse.Namespace, scratch: Path) -> None:
    """Steps of three kinds on the same rows, in turns: `spec`, the plain loss over all rows, open_clip's own loss."""
    import torch

    torch.set_num_threads(args.threads)
    kinds = {
        "spec": _stepper(args, scratch, "spec"),
        "plain": _stepper(args, scratch, "full_sets"),
        "open_clip": _bare_stepper(args, scratch),
    }
    encoder = _encoder(args.model, scratch)
    batch = _made_batch(encoder, args.sets, args.pairs).to(encoder.device)
    spent: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    for number in range(args.rounds + 2):
        for name, take in kinds.items():
            clock = Clock()
            take(batch)
            _wait(encoder.device)
            if number >= 2:
                spent[name].append(clock.spent())
    print(f"{args.model}: {len(batch)} rows, of them {args.pairs} plain pairs; {args.rounds} steps of each kind")
    for other in ("plain", "open_clip"):
        for clock_name in ("seconds", "cpu_s"):
            ratios = [a[clock_name] / b[clock_name] for a, b in zip(spent["spec"], spent[other], strict=True)]
            quarter = statistics.quantiles(ratios, n=4)
            medians = [statistics.median(one[clock_name] for one in spent[name]) * 1e3 for name in ("spec", other)]
            print(
                f"  spec / {other}, {clock_name}: median {statistics.median(ratios):.3f} "
                f"(quarters {quarter[0]:.3f}, {quarter[2]:.3f}); {medians[0]:.0f} and {medians[1]:.0f} ms a step"
            )


def _stepper(args: argparse.Namespace, scratch: Path, objective: str) -> Callable[[Batch], Any]:
    step = _train_step(args, _encoder(args.model, scratch), objective)
    return lambda batch: step.take(1, batch, 1e-6)


def _train_step(args: argparse.Namespace, encoder: Encoder, objective: str) -> TrainStep:
    from accelerate import Accelerator

    from minchange_eval.trainers.clip.objectives import OBJECTIVES
    from minchange_eval.trainers.clip.step import TrainStep, adamw
    from minchange_eval.trainers.clip.trained_model import TwoTowers

    accelerator = Accelerator(mixed_precision="bf16" if args.precision == "bf16" else "no")
    towers = TwoTowers(encoder)
    optimizer = adamw(towers.parameters(), learning_rate=1e-6, weight_decay=0.1, beta1=0.9, beta2=0.98, epsilon=1e-6)
    towers, prepared = accelerator.prepare(towers, optimizer)
    scale: Any = encoder.model.logit_scale
    return TrainStep(towers, prepared, OBJECTIVES[objective], scale, backend=accelerator)


def _bare_stepper(args: argparse.Namespace, scratch: Path) -> Callable[[Batch], Any]:
    """A step as open_clip's documentation has it, with its own loss, and nothing else."""
    import torch
    from open_clip.loss import ClipLoss

    encoder = _encoder(args.model, scratch)
    model: Any = encoder.model
    loss, optimizer = ClipLoss(), torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.1, foreach=True)

    def take(batch: Batch) -> None:
        optimizer.zero_grad()
        with torch.autocast(encoder.device.type, torch.bfloat16, enabled=args.precision == "bf16"):
            images = model.encode_image(batch.images["image"], normalize=True)
            texts = model.encode_text(batch.texts["text"], normalize=True)
            total = loss(images, texts, model.logit_scale.exp())
        total.backward()
        optimizer.step()

    return take


def _encoder(model: str, scratch: Path) -> Encoder:
    import torch

    from minchange_eval.trainers.clip.trained_model import load_for_training

    folder = model_folder(model, scratch)
    return load_for_training(str(folder), device="cuda" if torch.cuda.is_available() else "cpu")


def _made_batch(encoder: Encoder, sets: int, pairs: int) -> Batch:
    """Sets of SPEC's sizes, their first member the anchor, and plain pairs; pictures of noise, captions of words."""
    import torch
    from PIL import Image

    from minchange_eval.trainers.clip.batches import PLAIN, Batch

    numbers = [number for number, k in enumerate(islice(cycle(K), sets)) for _ in range(k)]
    of_set = torch.tensor(numbers + [PLAIN] * pairs)
    first = torch.tensor([at == 0 or numbers[at] != numbers[at - 1] for at in range(len(numbers))] + [False] * pairs)
    shape = encoder.prepare_image(Image.new("RGB", (64, 64)))["image"].shape
    captions = [f"a photo of {number} cats and a dog" for number in range(len(of_set))]
    torch.manual_seed(0)
    return Batch({"image": torch.randn(len(of_set), *shape)}, encoder.tokenize(captions).inputs, of_set, first)


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def loading(args: argparse.Namespace, scratch: Path) -> None:
    """Train on JPEG files in a CSV, each decoded when its step needs it, and say how long the model waited for them."""
    import torch

    torch.set_num_threads(args.threads)
    table = _write_pairs(scratch, args.pictures, args.edge_px)
    encoder = _encoder(args.model, scratch)
    step = _train_step(args, encoder, "one_per_set")
    rows = args.pairs
    fixed = _made_batch(encoder, 0, rows).to(encoder.device)
    for _ in range(2):
        step.take(1, fixed, 1e-6)
    clock = Clock()
    for _ in range(5):
        step.take(1, fixed, 1e-6)
    _wait(encoder.device)
    alone_s = clock.spent()["seconds"] / 5
    cached_mb = args.pictures * fixed.images["image"][0].nbytes // 2**20 + 1
    for cache_mb, epochs in ((0, 1), (cached_mb, 2)):
        for epoch, spent in enumerate(_epochs(encoder, step, table, rows, args.workers, cache_mb, epochs)):
            print(
                f"{args.model}, {rows} rows of {args.edge_px} px JPEGs, {args.workers} workers, cache {cache_mb} MB, "
                f"epoch {epoch + 1}: model busy {1 - spent['waited_s'] / spent['seconds']:.1%} of the time, "
                f"{spent['images_per_s']:.0f} images/s; step alone {rows / alone_s:.0f} images/s"
            )


def _epochs(
    encoder: Encoder, step: TrainStep, table: Path, rows: int, workers: int, cache_mb: int, epochs: int
) -> Iterator[dict[str, float]]:
    from minchange_eval.trainers.clip.loader import BatchStream, TrainingData
    from minchange_eval.trainers.clip.plan import BatchPlan
    from minchange_eval.trainers.clip.sources import open_pairs

    pairs = open_pairs(str(table))
    data = TrainingData(None, pairs, encoder, cache_mb)
    plan = BatchPlan([], [], len(pairs), sets_per_batch=0, pairs_per_batch=rows)
    with BatchStream(data, plan, range(epochs * plan.steps_per_epoch), workers=workers) as stream:
        step.take(1, next(stream), 1e-6)  # the first batch has nothing before it to be loaded behind
        for epoch in range(epochs):
            clock, waited_s = Clock(), stream.waited_s
            taken = plan.steps_per_epoch - (epoch == 0)
            for _ in range(taken):
                step.take(1, next(stream), 1e-6)
            _wait(encoder.device)
            spent = clock.spent()
            yield {
                **spent,
                "waited_s": stream.waited_s - waited_s,
                "images_per_s": taken * rows / spent["seconds"],
            }


def _write_pairs(scratch: Path, count: int, edge_px: int) -> Path:
    """A CSV as open_clip's trainer reads it, over JPEG files of a generated release."""
    sets = -(-count // (2 * sum(K)))
    release = write_release(scratch / "release", max(1, 2 * sets), edge_px)
    pictures = sorted(release.folder.rglob("*.jpg"))[:count]
    table = scratch / "pairs.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["filepath", "title"])
        writer.writerows([str(picture), f"a photo of number {number}"] for number, picture in enumerate(pictures))
    return table


def memory(args: argparse.Namespace, scratch: Path) -> None:
    """Peak memory of the loss alone and of whole steps, each in a process of its own."""
    log = scratch / "output.log"
    for local in (True, False):
        held = {n: measured(_peak_of_loss, n, local, log=log).result for n in (2048, 4096, 8192, 16384)}
        _print_growth(f"loss of spec, local_loss={local}", held)
    folder = str(scratch)
    held = {n: measured(_peak_of_step, args.model, folder, n, log=log).result for n in (256, 512, 1024, 2048)}
    _print_growth(f"step of spec with local_loss, {args.model}", held)


def _print_growth(name: str, held: dict[int, float]) -> None:
    import numpy as np

    rows, megabytes = np.array(list(held)), np.array(list(held.values()))
    slope, start = np.polyfit(rows, megabytes, 1)
    exponent = np.polyfit(np.log(rows), np.log(megabytes), 1)[0]
    off = np.abs(megabytes - (start + slope * rows)).max() / megabytes.max()
    print(f"{name}: " + ", ".join(f"{n:,} rows {mb:,.0f} MB" for n, mb in held.items()))
    print(
        f"  line {start:,.0f} MB + {slope * 1024:,.1f} MB per 1,024 rows, off by {off:.1%} of the largest at most; "
        f"as a power of the rows {exponent:.2f}",
        flush=True,
    )


def _peak_of_loss(rows: int, local: bool) -> float:
    """MB that the loss and its gradient take beside the features."""
    import torch
    from torch.nn.functional import normalize

    from minchange_eval.trainers.clip.batches import PLAIN, Batch
    from minchange_eval.trainers.clip.gather import World
    from minchange_eval.trainers.clip.objectives import OBJECTIVES, Features

    torch.set_num_threads(1)
    torch.manual_seed(0)
    sets = torch.arange(rows) // 4
    sets[rows // 2 :] = PLAIN
    anchors = (torch.arange(rows) % 4 == 0) & (sets != PLAIN)
    batch = Batch({"image": torch.zeros(rows, 1)}, {"text": torch.zeros(rows, 1)}, sets, anchors)
    objective = replace(OBJECTIVES["spec"], local_loss=local)
    leaves = [normalize(torch.randn(rows, 128), dim=-1).requires_grad_() for _ in range(2)]

    def take(part: Batch, images: torch.Tensor, texts: torch.Tensor) -> None:
        objective.losses(Features(images, texts, torch.tensor(50.0)), part, World()).total.backward()

    few = batch.split(rows // 64)[0]  # loads what torch loads on first use
    take(few, leaves[0][: len(few)], leaves[1][: len(few)])
    before = resident_mb()
    take(batch, *leaves)
    return _peak_rss_mb() - before


def _peak_of_step(model: str, scratch: str, rows: int) -> float:
    """MB that a whole step takes beside the loaded model."""
    import torch

    torch.set_num_threads(1)
    encoder = _encoder(model, Path(scratch))
    options = argparse.Namespace(precision="fp32")
    step = _train_step(options, encoder, "spec")
    step = replace(step, objective=replace(step.objective, local_loss=True))
    few = _made_batch(encoder, 6, 34)
    step.take(1, few, 1e-6)  # the optimizer's moments
    whole = _made_batch(encoder, rows // 10, rows - len(_made_batch(encoder, rows // 10, 0)))
    before = resident_mb()
    step.take(2, whole, 1e-6)
    return _peak_rss_mb() - before


def _peak_rss_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def trainer(args: argparse.Namespace, scratch: Path) -> None:
    """An epoch of open_clip_train's own loop and one of ours, in turns, on the same files and preprocessing."""
    import torch

    torch.set_num_threads(args.threads)
    table = _write_pairs(scratch, args.pictures, args.edge_px)
    ours, theirs = [], []
    encoder = _encoder(args.model, scratch)
    step = _train_step(args, encoder, "one_per_set")
    epoch_of_theirs = _open_clip_trainer(args, scratch, table)
    for number in range(3):
        spent = next(_epochs(encoder, step, table, args.pairs, args.workers, 0, 1))
        rate = epoch_of_theirs(number)
        if number:  # the first round of each warms up
            ours.append(spent["images_per_s"])
            theirs.append(rate)
            print(f"ours {ours[-1]:.0f} images/s, open_clip_train {theirs[-1]:.0f} images/s: {ours[-1] / rate:.2f}")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{args.model} {args.precision} on {device}, {args.pairs} a batch, {args.workers} workers")


def _open_clip_trainer(args: argparse.Namespace, scratch: Path, table: Path) -> Callable[[int], float]:
    """One epoch of `open_clip_train.train.train_one_epoch`, as images a second."""
    import open_clip
    import torch
    from open_clip_train.data import get_csv_dataset
    from open_clip_train.params import parse_args
    from open_clip_train.train import train_one_epoch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = f"local-dir:{model_folder(args.model, scratch)}"
    theirs = parse_args(["--train-data", str(table), "--batch-size", str(args.pairs), "--workers", str(args.workers)])
    vars(theirs).update(
        device=device, precision="amp_bf16" if args.precision == "bf16" else "fp32", rank=0, local_rank=0, world_size=1,
        distributed=False, distill=False, skip_scheduler=True, wandb=False, tensorboard=False, save_logs=False,
        log_every_n_steps=10**9,
    )  # fmt: skip
    logging.getLogger().setLevel(logging.ERROR)
    model, _, preprocess = open_clip.create_model_and_transforms(name, device=device, output_dict=True)
    data = {"train": get_csv_dataset(theirs, preprocess, is_train=True, tokenizer=open_clip.get_tokenizer(name))}
    loss = open_clip.create_loss(theirs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)

    def epoch(number: int) -> float:
        clock = Clock()
        train_one_epoch(model, data, loss, number, optimizer, None, None, None, theirs)
        _wait(torch.device(device))
        return float(len(data["train"].dataloader) * args.pairs / clock.spent()["seconds"])

    return epoch


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
