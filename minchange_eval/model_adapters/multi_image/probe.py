"""Contamination probe: two images that are almost one, asked in every way that the run will use.

If an image cache, a batch or a shared beginning handed over the wrong image, the scores of the two would mix; an answer
alone would not show it. What each prompt gives in every way is compared with what the model gives when nothing is
reused and nothing of this package stands between its processor and it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from loguru import logger
from PIL import Image

from minchange_eval.core.errors import ModelError
from minchange_eval.core.items import BytesImage
from minchange_eval.core.prompts import Part
from minchange_eval.model_adapters.chat_model import Ask
from minchange_eval.model_adapters.multi_image.answering import Answering
from minchange_eval.model_adapters.multi_image.chat_prompts import ChatPrompts, Reply
from minchange_eval.model_adapters.multi_image.checkpoint import Loaded
from minchange_eval.model_adapters.multi_image.features import Features
from minchange_eval.model_adapters.multi_image.memory import the_last_try
from minchange_eval.model_adapters.multi_image.plain import PlainAnswering
from minchange_eval.model_adapters.multi_image.questions import Found, Prompted, Question, Unanswered

_EDGE_PX, _PATCH_PX = 112, 28
_TOLERANCE, _NOISE = 1e-3, 1e-5  # in log-probability, float32
_TEXTS = ("What does the image show?", "Name the colour of the square in the image.")
_REPLY = Reply("a red square in the middle, not a blue one")
Arranged = Callable[[Sequence[Part]], tuple[Part, ...]]
Asked = dict[str, Found]  # prompt -> log-probabilities of the next token [vocabulary] or of a reply's [tokens]


@dataclass(frozen=True)
class Probe:
    """What the probe found.

    Attributes:
        differences: (way, prompt) -> largest difference of a log-probability from that of the prompt alone.
        between_images: the smallest such difference that exchanging the images makes, nothing reused.
        tolerance: what a way may differ.
        left_out: prompt -> why it could not be asked.
    """

    differences: dict[tuple[str, str], float]
    between_images: float
    tolerance: float
    left_out: dict[str, str]

    def check(self) -> None:
        """Log what the probe cannot vouch for.

        Raises:
            ModelError: some way gives a prompt another score.
        """
        for warning in self.warnings:
            logger.warning(f"contamination probe: {warning}")
        for (way, prompt), difference in self.differences.items():
            if not difference <= self.tolerance:
                raise ModelError(
                    f"contamination probe: {prompt}, {way}: differs by {difference:.2g} from the prompt alone, "
                    f"{self.tolerance:.2g} is allowed (the two images differ by {self.between_images:.2g}); "
                    "answers would mix up images, so the run stops; please report the model, and try prefix=false"
                )

    @property
    def warnings(self) -> list[str]:
        """What the probe cannot vouch for."""
        found = [f"{prompt} left out: {reason}" for prompt, reason in self.left_out.items()]
        if self.differences and not self.between_images > 0:
            found.append(
                "two images make no difference: they do not reach the model's answers, or its logits are not finite"
            )
        return found


def probe(
    loaded: Loaded,
    prompts: ChatPrompts,
    features: Features | None,
    *,
    arranged: Arranged | None,
    prefix: bool,
    batch_size: int,
) -> Probe:
    """Ask about two almost equal images in every way that a run with these settings may use.

    Args:
        features: where encoded images are kept; None: nothing is reused.
        arranged: a turn of several images as the run sends it; None: it sends none.
        prefix: whether shared beginnings are computed once.
        batch_size: rows of a forward of the run.

    Raises:
        ModelError: out of memory.
    """
    with the_last_try():
        plain = partial(_asked, PlainAnswering(loaded, prompts, words=False))
        pairs = _shown(arranged)
        found = plain({name: prompt for pair in pairs for name, prompt in pair.items()})
        left_out = {name: one.reason for name, one in found.items() if isinstance(one, Unanswered)}
        pairs = [pair for pair in pairs if not left_out.keys() & pair.keys()]
        shown = {name: prompt for pair in pairs for name, prompt in pair.items()}
        ways = {"asked again": plain(shown)} if features is None else {}
        if features is not None:
            ask = partial(_in_one_way, loaded, prompts, features, shown)
            features.forget()
            ways["one by one, images encoded"] = ask(prefix=False, batch_size=1)
            ways["one by one, images reused"] = ask(prefix=False, batch_size=1)
            if batch_size > 1:
                ways[f"in batches of {batch_size}"] = ask(prefix=False, batch_size=batch_size)
            if prefix:
                ways["from a shared beginning"] = ask(prefix=True, batch_size=batch_size)
            features.forget()
            features.computed = 0
    differences = {(way, name): _largest(asked[name], found[name]) for way, asked in ways.items() for name in shown}
    between = [_between(pair, found) for pair in pairs]
    return Probe(
        differences,
        min(between, default=0.0),
        _tolerance(_whole(pairs, between), loaded.settings["dtype"] == "fp32"),
        left_out,
    )


def _between(pair: Mapping[str, Prompted], found: Asked) -> float:
    first, second = pair
    return _largest(found[first], found[second])


def _whole(pairs: Sequence[Mapping[str, Prompted]], between: Sequence[float]) -> float:
    """The least that two images differ by over the whole vocabulary, where they differ; a reply has a few tokens of it,
    and says too little about how much is noise.
    """
    whole = [
        difference
        for pair, difference in zip(pairs, between, strict=True)
        if difference > 0 and all(prompt.reply is None for prompt in pair.values())
    ]
    return min(whole, default=0.0)


def _tolerance(between: float, in_float32: bool) -> float:
    """Never so much that one image could pass for the other; in half precision less than what tells them apart."""
    if not between > 0:  # a model that tells nothing apart, or whose logits are NaN, can mix nothing up
        return np.inf
    return max(_NOISE, min(_TOLERANCE, between / 2)) if in_float32 else float(np.nextafter(between, 0))


def _shown(arranged: Arranged | None) -> list[dict[str, Prompted]]:
    """The prompts by name, in pairs that differ in the images only."""
    first, second = _picture((220, 40, 40)), _picture((40, 60, 220))
    single = {"image 1": Prompted((first, _TEXTS[0])), "image 2": Prompted((second, _TEXTS[0]))}
    pairs = [single, {f"{name} with a reply": replace(prompt, reply=_REPLY) for name, prompt in single.items()}]
    if arranged is not None:
        orders = {"images 1 and 2": (first, second), "images 2 and 1": (second, first)}
        pairs.append({name: Prompted(arranged((*images, _TEXTS[0]))) for name, images in orders.items()})
    return pairs


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


def _in_one_way(
    loaded: Loaded,
    prompts: ChatPrompts,
    features: Features,
    shown: Mapping[str, Prompted],
    *,
    prefix: bool,
    batch_size: int,
) -> Asked:
    """What each prompt gives; each has a twin where beginnings are shared, so that there are some."""
    answering = Answering(loaded, prompts, features, words=False, prefix=prefix, batch_size=batch_size)
    twins = {
        f"{name}, its twin": replace(prompt, parts=(*prompt.parts[:-1], _TEXTS[1])) for name, prompt in shown.items()
    }
    return _asked(answering, {**shown, **(twins if prefix else {})})


def _asked(answering: Answering | PlainAnswering, shown: Mapping[str, Prompted]) -> Asked:
    """What each prompt gives as a question of one document."""
    found: Asked = {}
    questions = [
        Question(Ask(name, prompt.parts, None, None, ("probe", 0), 1, ()), (prompt,), partial(_kept, found, name))
        for name, prompt in shown.items()
    ]
    for _ in answering.answers([questions]):
        pass
    return found


def _kept(place: Asked, name: str, found: Sequence[Found]) -> str:
    (place[name],) = found
    return ""


def _largest(first: Found, second: Found) -> float:
    """The largest difference; of tokens that the model rules out, and of NaN logits, none counts."""
    if not isinstance(first, np.ndarray) or not isinstance(second, np.ndarray):
        return float("inf")
    finite, also = np.isfinite(first), np.isfinite(second)
    if (finite != also).any():
        return float("inf")
    return float(np.abs(first - second)[finite].max()) if finite.any() else 0.0
