"""Batches in the order of the steps, decoded ahead while the model computes.

Which rows a batch has is the plan's business; a loader only fills them, so batches are the same for any number of
workers. Workers are threads: Pillow and torch let go of the interpreter's lock where they work, nothing is copied
between processes, and nothing is left behind by Ctrl-C (decision 0043).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType

import torch
from PIL import Image
from torch import Tensor

from minchange_eval.core.errors import DataError
from minchange_eval.core.images import decode
from minchange_eval.core.items import ImageSource
from minchange_eval.model_adapters.encoder import Encoder
from minchange_eval.trainers.clip.batches import PLAIN, Batch
from minchange_eval.trainers.clip.caption_tokens import CaptionTokens
from minchange_eval.trainers.clip.plan import BatchPlan, MemberKey
from minchange_eval.trainers.clip.sources import PairData, SetData

AHEAD_BYTES = 512 * 2**20  # of prepared images that wait for their step; one step ahead is loaded whatever it takes
_MOST_STEPS_AHEAD = 8
_TRIES = 3  # of reading a file; network file systems fail for a moment
_WAIT_S = 0.2  # before the second try, then twice as long

Prepared = dict[str, Tensor]


class PreparedImages:
    """Prepared images up to a number of bytes. The first that come stay.

    An epoch goes through all images in an order of its own, so what was used last is no more likely to come soon than
    anything else: pushing out would only cost.
    """

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._kept: dict[tuple[str, int], Prepared] = {}
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int]) -> Prepared | None:
        """The image, if it is kept."""
        return self._kept.get(key)

    def keep(self, key: tuple[str, int], image: Prepared) -> None:
        """Keep it if there is room."""
        size = sum(values.nbytes for values in image.values())
        with self._lock:
            if size <= self._left and key not in self._kept:
                self._left -= size
                self._kept[key] = image


class TrainingData:
    """Sets and plain pairs as one model takes them: captions tokenized, images prepared when asked for.

    Attributes:
        set_tokens, pair_tokens: of all captions; `cut` of them are longer than the model's context.
    """

    def __init__(self, sets: SetData | None, pairs: PairData | None, encoder: Encoder, cache_mb: int = 0) -> None:
        self.sets, self.pairs, self.encoder = sets, pairs, encoder
        self.set_tokens = CaptionTokens.of(encoder, sets.captions) if sets else None
        self.pair_tokens = CaptionTokens.of(encoder, pairs.captions()) if pairs else None
        self._kept = PreparedImages(cache_mb * 2**20)
        self.image_shapes = {
            name: (values.shape, values.dtype)
            for name, values in encoder.prepare_image(Image.new("RGB", (64, 64))).items()
        }

    @property
    def cut_captions(self) -> str:
        """One line on captions that are longer than the model's context and are cut; empty where none is."""
        said = []
        for tokens, where in ((self.set_tokens, self._where_set), (self.pair_tokens, self._where_pair)):
            if tokens is not None and tokens.cut:
                total = len(next(iter(tokens.inputs.values())))
                said.append(f"{tokens.cut:,} of {total:,} captions (first: {where(tokens.first_cut)})")
        return f"longer than the model's context and cut: {'; '.join(said)}" if said else ""

    def texts(self, members: Sequence[MemberKey]) -> dict[str, Tensor]:
        """name -> [members, tokens]; sets come before pairs."""
        of_sets = [self._place(key) for key in members if key.source == "set"]
        of_pairs = [key.number for key in members if key.source == "pair"]
        parts = [
            tokens.rows(places)
            for tokens, places in ((self.set_tokens, of_sets), (self.pair_tokens, of_pairs))
            if tokens is not None and places
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def prepared(self, key: MemberKey) -> Prepared:
        """The image of a member as the model takes it.

        Raises:
            DataError: it cannot be read or decoded; with data set, row and image.
        """
        place = (key.source, self._place(key))
        image = self._kept.get(place)
        if image is None:
            source = self._image(key)
            try:
                image = self.encoder.prepare_image(decode(_read(source), source.name))
            except DataError as error:
                raise DataError(f"{self._where(key)}: {error}; {self._mend(key)}") from error
            self._kept.keep(place, image)
        return image

    def _place(self, key: MemberKey) -> int:
        if key.source == "pair":
            return key.number
        assert self.sets is not None
        return self.sets.place(key.number, key.member)

    def _image(self, key: MemberKey) -> ImageSource:
        if key.source == "set":
            assert self.sets is not None
            return self.sets.images[self._place(key)]
        assert self.pairs is not None
        return self.pairs.image(key.number)

    def _where(self, key: MemberKey) -> str:
        if key.source == "set":
            assert self.sets is not None
            return self.sets.where(key.number, key.member)
        return self._where_pair(key.number)

    def _where_set(self, place: int) -> str:
        assert self.sets is not None
        return f"set {self.sets.set_ids[place]}"

    def _where_pair(self, number: int) -> str:
        assert self.pairs is not None
        return self.pairs.where(number)

    def _mend(self, key: MemberKey) -> str:
        if key.source == "set":
            assert self.sets is not None
            return self.sets.mend(key.number)
        return "put the image back or take the row out, then start again: what was trained so far is kept"


def _read(source: ImageSource) -> bytes:
    for again in range(_TRIES):
        try:
            return source.read()
        except FileNotFoundError as error:
            raise DataError(f"image {source.name}: there is no such file") from error
        except OSError as error:
            if again == _TRIES - 1:
                raise DataError(f"image {source.name}: cannot be read ({error.strerror or error})") from error
            time.sleep(_WAIT_S * 2**again)
    raise AssertionError  # the loop returns or raises


@dataclass
class _Step:
    """A batch while it is filled: a worker writes each row in its place, so that nothing is stacked afterwards."""

    members: tuple[MemberKey, ...]
    images: dict[str, Tensor]
    rows: list[Future[None]] = field(default_factory=list)


class BatchStream(Iterator[Batch]):
    """The batches of consecutive steps; close it, or use it in a `with`.

    Attributes:
        waited_s: seconds that `next` took so far, in which the model had nothing to do.
    """

    def __init__(
        self, data: TrainingData, plan: BatchPlan, steps: range, *, rank: int = 0, world: int = 1, workers: int = 2
    ) -> None:
        self._data, self._plan, self._rank, self._world = data, plan, rank, world
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="load") if workers else None
        self._to_start = iter(steps)
        self._under_way: deque[_Step] = deque()
        self._pin = data.encoder.device.type == "cuda"  # such pages go to the device while it computes
        self.waited_s = 0.0

    def __iter__(self) -> BatchStream:
        return self

    def __next__(self) -> Batch:
        """The next step's batch.

        Raises:
            DataError: the first image of this step, in the order of its members, that cannot be read or decoded.
        """
        began = time.perf_counter()
        try:
            return self._next()
        except BaseException:
            self.close()
            raise
        finally:
            self.waited_s += time.perf_counter() - began

    def _next(self) -> Batch:
        self._start_more()
        if not self._under_way:
            raise StopIteration
        step = self._under_way.popleft()
        for row, key in enumerate(step.members):
            if self._pool is None:
                self._fill(step.images, row, key)
            else:
                step.rows[row].result()
        self._start_more()
        return Batch(
            images=step.images,
            texts=self._data.texts(step.members),
            sets=torch.tensor(
                [key.number if key.source == "set" else PLAIN for key in step.members], dtype=torch.int64
            ),
            anchors=torch.tensor([key.is_anchor for key in step.members], dtype=torch.bool),
        )

    def _start_more(self) -> None:
        while len(self._under_way) < self._ahead():
            number = next(self._to_start, None)
            if number is None:
                return
            self._under_way.append(self._started(self._plan.at(number, self._rank, self._world).members))

    def _ahead(self) -> int:
        """Steps to have under way: as many as fit, one at least."""
        if not self._under_way or self._pool is None:
            return 1
        step_bytes = sum(values.nbytes for values in self._under_way[0].images.values())
        return max(1, min(_MOST_STEPS_AHEAD, AHEAD_BYTES // max(step_bytes, 1)))

    def _started(self, members: tuple[MemberKey, ...]) -> _Step:
        step = _Step(
            members,
            {
                name: torch.empty((len(members), *shape), dtype=dtype, pin_memory=self._pin)
                for name, (shape, dtype) in self._data.image_shapes.items()
            },
        )
        if self._pool is not None:
            step.rows = [self._pool.submit(self._fill, step.images, row, key) for row, key in enumerate(members)]
        return step

    def _fill(self, images: dict[str, Tensor], row: int, key: MemberKey) -> None:
        for name, values in self._data.prepared(key).items():
            images[name][row].copy_(values)

    def close(self) -> None:
        """Stop loading; what is under way is dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._under_way.clear()
        self._to_start = iter(range(0))

    def __enter__(self) -> BatchStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def batches(
    sets: SetData | None,
    pairs: PairData | None,
    plan: BatchPlan,
    encoder: Encoder,
    *,
    rank: int = 0,
    world: int = 1,
    start_step: int = 0,
    steps: int,
    workers: int = 2,
    cache_mb: int = 0,
) -> BatchStream:
    """The batches of steps `start_step` to `steps` - 1 of a run.

    Args:
        rank, world: this process and how many there are; all get their shares of the same global batches.
        workers: threads that read, decode and prepare; 0 does it when a batch is asked for.
        cache_mb: memory for prepared images beside those under way.
    """
    data = TrainingData(sets, pairs, encoder, cache_mb)
    return BatchStream(data, plan, range(start_step, steps), rank=rank, world=world, workers=workers)
