"""Zero-shot classification of a model that is being trained: what it must not forget for what it learns.

Sources: CLIP, arXiv:2103.00020, section 3.1.4 (a class is the mean of its captions' embeddings, of length 1 again);
SPEC, arXiv:2312.00081, whose CLS column this is the counterpart of (its captions are not published).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minchange_eval.core.errors import UsageError
from minchange_eval.core.statistics import share_interval
from minchange_eval.model_adapters.arithmetic import lanes, same_bits
from minchange_eval.model_adapters.encoder import Encoder
from minchange_eval.model_adapters.live_encoder import KeptInputs, evaluation_mode
from minchange_eval.model_adapters.streaming import BatchTooLargeError, Rows, stream_images, stream_texts
from minchange_eval.trainers.clip.labelled_pictures import LabelledPictures, open_labelled

TEMPLATES = ("a photo of a {}", "a picture of a {}", "a photo of the {}", "there is a {} in the image")


@dataclass(frozen=True)
class ZeroShotAccuracy:
    """How many pictures are nearest to the captions of their own class.

    Attributes:
        accuracy: share of the pictures, in [0, 1]; a tie for the first place and a picture without a finite score are
            misses.
        low, high: 95 % interval (`share_interval`, which contains Wilson's); pictures count as independent.
        n: pictures.
        classes: how many there are to choose from.
        ties, unscored: misses by a tie; by a score that is not finite.
    """

    accuracy: float
    low: float
    high: float
    n: int
    classes: int
    ties: int
    unscored: int

    @property
    def chance(self) -> float:
        """Of a guess: one of the classes."""
        return 1 / self.classes

    def __str__(self) -> str:
        """
        >>> print(ZeroShotAccuracy(0.75, 0.5, 0.875, 40, 8, 0, 0))
        zero-shot accuracy 75.0 % [50.0, 87.5], 40 pictures, chance 12.5 % of 8 classes
        """
        flaws = "".join(
            f", {count} {name}" for name, count in (("tied", self.ties), ("unscored", self.unscored)) if count
        )
        share, chance = (f"{value * 100:.1f}" for value in (self.accuracy, self.chance))
        return (
            f"zero-shot accuracy {share} % [{self.low * 100:.1f}, {self.high * 100:.1f}], {self.n:,} pictures, "
            f"chance {chance} % of {self.classes} classes{flaws}"
        )


class ZeroShot:
    """Classifies pictures by a live model, on one rank that waits for no other.

    Args:
        pictures: an address as `open_labelled` takes it, or what it gave.
        templates: captions of a class, `{}` for its name.
        batch_size: rows of each forward; None: 32 on CPU, 128 on an accelerator. Halved where it does not fit.
        cache_mb: most that prepared images may take from one call to the next.

    Raises:
        UsageError: as `open_labelled`, or a template without a place for the name.
        DataError: as `open_labelled`.
    """

    def __init__(
        self,
        pictures: str | LabelledPictures,
        *,
        templates: Sequence[str] = TEMPLATES,
        batch_size: int | None = None,
        cache_mb: int = 512,
    ) -> None:
        if not templates or not all(template.count("{}") == 1 for template in templates):
            raise UsageError(f"zero-shot templates: expected {{}} once in each, for the name, got {list(templates)}")
        self.pictures = open_labelled(pictures) if isinstance(pictures, str) else pictures
        self._templates, self._batch_size = tuple(templates), batch_size
        self._inputs = KeptInputs(cache_mb * 2**20)

    def __call__(self, encoder: Encoder) -> ZeroShotAccuracy:
        """Accuracy of the model as it is now; each of its modules is afterwards in the mode that it was in.

        Each picture and each caption is encoded once, in float32 and full precision; similarities are float32.

        Raises:
            DataError: a picture cannot be read.
            BatchTooLargeError: out of memory with one row.
        """
        batch_size = self._batch_size or (32 if encoder.device.type == "cpu" else 128)
        scores = None
        with evaluation_mode(encoder.model), same_bits(encoder.device):
            while scores is None:
                try:
                    scores = self._scores(encoder, batch_size)
                except BatchTooLargeError as error:
                    if batch_size == 1:
                        raise BatchTooLargeError(f"zero-shot evaluation: {error}") from error
                batch_size //= 2
        return _accuracy(scores, np.array(self.pictures.labels))

    def _scores(self, encoder: Encoder, batch_size: int) -> NDArray[np.float32]:
        """[pictures, classes]"""
        side_by_side, names = lanes(encoder.device), self.pictures.classes
        captions = [template.format(name) for name in names for template in self._templates]
        texts = _stacked(stream_texts(encoder, captions, batch_size=batch_size, lanes=side_by_side))
        classes = texts.reshape(len(names), len(self._templates), -1).mean(axis=1)
        classes /= np.linalg.norm(classes, axis=-1, keepdims=True)
        images = stream_images(
            encoder,
            self.pictures.images,
            batch_size=batch_size,
            lanes=side_by_side,
            loaders=side_by_side if encoder.device.type == "cpu" else 8,
            load=self._inputs.image,
        )
        # sums, not a matrix product: equal classes get equal bits wherever they stand, so that a tie is seen as one
        return np.concatenate(
            [np.stack([(vectors * one).sum(axis=-1) for one in classes], axis=1) for vectors, _ in images]
        )


def _stacked(batches: Iterable[Rows]) -> NDArray[np.float32]:
    return np.concatenate([vectors for vectors, _ in batches])


def _accuracy(scores: NDArray[np.float32], labels: NDArray[np.int_]) -> ZeroShotAccuracy:
    """From scores [pictures, classes] and the class of each picture."""
    scored = np.isfinite(scores).all(axis=1)
    own = scores[np.arange(len(labels)), labels]
    best = scores.max(axis=1)
    first = scored & (own == best)
    tied = first & ((scores == best[:, None]).sum(axis=1) > 1)
    hits, n = int((first & ~tied).sum()), len(labels)
    interval = share_interval(hits, n)
    return ZeroShotAccuracy(
        accuracy=hits / n,
        low=interval.low,
        high=interval.high,
        n=n,
        classes=scores.shape[1],
        ties=int(tied.sum()),
        unscored=int((~scored).sum()),
    )
