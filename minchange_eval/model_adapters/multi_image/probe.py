"""Contamination probe: two images that are almost one, asked in every way that the run will use.

If an image cache, a batch or a shared beginning handed over the wrong image, the scores of the two would mix; an answer
alone would not show it. What each prompt gives in every way is compared with what the model gives when nothing is
reused and nothing of this package stands between its processor and it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minchange_eval.core.errors import ModelError
from minchange_eval.core.items import BytesImage
from minchange_eval.core.prompts import Part
from minchange_eval.model_adapters.chat_model import Ask
from minchange_eval.model_adapters.multi_image.answering import Answering
from minchange_eval.model_adapters.multi_image.chat_prompts import ChatPrompts
from minchange_eval.model_adapters.multi_image.checkpoint import Loaded
from minchange_eval.model_adapters.multi_image.features import Features
from minchange_eval.model_adapters.multi_image.plain import PlainAnswering
from minchange_eval.model_adapters.multi_image.questions import Found, Prompted, Question

_EDGE_PX, _PATCH_PX = 112, 28
_TOLERANCE, _NOISE = 1e-3, 1e-5  # in log-probability, float32
_TEXTS = ("What does the image show?", "Name the colour of the square in the image.")
Vectors = list[NDArray[np.float32]]  # one a prompt: log-probabilities of the next token [vocabulary]


@dataclass(frozen=True)
class Probe:
    """What the probe found.

    Attributes:
        differences: (way, prompt) -> largest difference of a log-probability from that of the prompt alone.
        between_images: the smallest such difference that exchanging the images makes, nothing reused.
        tolerance: what a way may differ.
    """

    differences: dict[tuple[str, str], float]
    between_images: float
    tolerance: float

    def check(self) -> None:
        """Raises: ModelError: some way gives a prompt another score."""
        for (way, prompt), difference in self.differences.items():
            if not difference <= self.tolerance:
                raise ModelError(
                    f"contamination probe: {prompt}, {way}: differs by {difference:.2g} from the prompt alone, "
                    f"{self.tolerance:.2g} is allowed (the two images differ by {self.between_images:.2g}); "
                    "answers would mix up images, so the run stops; please report the model, and try prefix=false"
                )


def probe(loaded: Loaded, prompts: ChatPrompts, features: Features | None, *, several: bool, prefix: bool) -> Probe:
    """Ask about two almost equal images in every way that a run with these settings may use.

    Args:
        features: where encoded images are kept; None: nothing is reused.
        several: whether prompts have several images.
        prefix: whether shared beginnings are computed once.
    """
    shown = _shown(several)
    plain = PlainAnswering(loaded, prompts, words=False)
    alone: Vectors = [plain.log_probabilities(Prompted(parts)) for parts in shown.values()]
    between = [_largest(first, second) for first, second in zip(alone[::2], alone[1::2], strict=True)]
    ways: dict[str, Vectors] = {"asked again": [plain.log_probabilities(Prompted(parts)) for parts in shown.values()]}
    if features is not None:
        ask = partial(_asked, loaded, prompts, features, list(shown.values()))
        features.forget()
        ways = {"one by one, images encoded": ask(False, 1), "one by one, images reused": ask(False, 1)}
        if loaded.family.batch:
            ways["in one batch"] = ask(False, len(shown))
        if prefix:
            ways["from a shared beginning"] = ask(True, 1)
        features.forget()
        features.computed = 0
    differences = {
        (way, name): _largest(vector, own)
        for way, vectors in ways.items()
        for name, vector, own in zip(shown, vectors, alone, strict=True)
    }
    least = min(between)
    return Probe(differences, least, _tolerance(least, loaded.settings["dtype"] == "fp32"))


def _tolerance(between: float, in_float32: bool) -> float:
    """Never so much that one image could pass for the other; in half precision less than what tells them apart."""
    if not between > 0:  # a model that tells nothing apart, or whose logits are NaN, can mix nothing up
        return np.inf
    return max(_NOISE, min(_TOLERANCE, between / 2)) if in_float32 else float(np.nextafter(between, 0))


def _shown(several: bool) -> dict[str, tuple[Part, ...]]:
    """The prompts by name; two neighbours differ in the images only."""
    first, second = _picture((220, 40, 40)), _picture((40, 60, 220))
    orders: dict[str, Sequence[BytesImage]] = {"image 1": [first], "image 2": [second]}
    if several:
        orders |= {"images 1 and 2": [first, second], "images 2 and 1": [second, first]}
    return {name: (*images, _TEXTS[0]) for name, images in orders.items()}


def _picture(colour: tuple[int, int, int]) -> BytesImage:
    """A gradient with a square of one colour in its middle."""
    ramp = np.linspace(40, 215, _EDGE_PX, dtype=np.float64)
    across, down = np.meshgrid(ramp, ramp)
    image = Image.fromarray(np.stack([across, down, np.full_like(across, 128)], axis=-1).astype(np.uint8))
    corner = (_EDGE_PX - _PATCH_PX) // 2
    image.paste(colour, (corner, corner, corner + _PATCH_PX, corner + _PATCH_PX))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return BytesImage(f"probe {colour}", buffer.getvalue())


def _asked(
    loaded: Loaded,
    prompts: ChatPrompts,
    features: Features,
    shown: Sequence[tuple[Part, ...]],
    prefix: bool,
    batch_size: int,
) -> Vectors:
    """What each prompt gives as the questions of one document; each has a twin, so that there are shared beginnings."""
    answering = Answering(loaded, prompts, features, words=False, prefix=prefix, batch_size=batch_size)
    found: dict[int, NDArray[np.float32]] = {}
    questions = []
    for number, parts in enumerate(shown):
        twin = (*parts[:-1], _TEXTS[1])
        for key, turn in ((number, parts), (-1 - number, twin)):
            if key >= 0 or prefix:
                ask = Ask(str(key), turn, None, None, ("probe", 0), 1, ())
                questions.append(Question(ask, (Prompted(turn),), partial(_kept, found, key)))
    for _ in answering.answers([questions]):
        pass
    return [found[number] for number in range(len(shown))]


def _kept(place: dict[int, NDArray[np.float32]], key: int, found: Sequence[Found]) -> str:
    (one,) = found
    assert isinstance(one, np.ndarray)
    place[key] = one
    return ""


def _largest(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The largest difference; of tokens that the model rules out, and of NaN logits, none counts."""
    finite, also = np.isfinite(first), np.isfinite(second)
    if (finite != also).any():
        return float("inf")
    return float(np.abs(first - second)[finite].max()) if finite.any() else 0.0
