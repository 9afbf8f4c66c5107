"""Multi-image chat models of the transformers library: replies in words, labels or options scored, nothing done twice.

Sources: VQAScore (arXiv:2404.01291) for the yes-probability of an image and a caption.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from loguru import logger

from minchange_eval.core.errors import UsageError
from minchange_eval.core.images import DECODING
from minchange_eval.core.prompts import Part
from minchange_eval.core.record import ModelDescription
from minchange_eval.model_adapters.arithmetic import cores, hardware, same_bits
from minchange_eval.model_adapters.chat_model import Ask, ChatModel
from minchange_eval.model_adapters.encoder import versions
from minchange_eval.model_adapters.model_args import DTYPES, count, flag, one_of
from minchange_eval.model_adapters.multi_image.answering import Answering
from minchange_eval.model_adapters.multi_image.chat_prompts import ChatPrompts
from minchange_eval.model_adapters.multi_image.checkpoint import Wanted, load
from minchange_eval.model_adapters.multi_image.features import Features
from minchange_eval.model_adapters.multi_image.greedy import Greedy
from minchange_eval.model_adapters.multi_image.labels import Spellings
from minchange_eval.model_adapters.multi_image.language_model import grows_plainly
from minchange_eval.model_adapters.multi_image.plain import PlainAnswering
from minchange_eval.model_adapters.multi_image.probe import Probe, probe
from minchange_eval.model_adapters.multi_image.questions import Questions
from minchange_eval.model_adapters.multi_image.side_by_side import LAYOUT, with_one_image
from minchange_eval.model_adapters.ranks import chosen_device

if TYPE_CHECKING:
    import torch

_FEATURES_MB = 1024


class HuggingFaceMultiImage(ChatModel):
    """`--model hf_multi_image`.

    model_args beside the shared ones (`ChatOptions`):
        pretrained, revision, trust_remote_code: a name on the Hub or a local folder; its revision; whether to run
            Python that comes with it (not unless asked for).
        dtype: `fp32`, `bf16` or `fp16`; by default fp32 on CPU, bf16 on an accelerator.
        device, device_map, attn_implementation: as transformers takes them.
        min_pixels, max_pixels: for processors that have these bounds.
        peft: folder of an adapter of the peft library.
        load_in_4bit, load_in_8bit: quantise with bitsandbytes; a quantised checkpoint is loaded as it says itself.
        batch_size: prompts a forward that share no beginning; 1 on CPU, 8 on an accelerator.
        normalise: `mean` or `sum`: what of the log-probabilities of an option's tokens and of its end decides.
        images_per_prompt: `many` or `one`; by default as the family was trained.
        stitch: whether a model of one image a prompt gets several images side by side; else it is refused.
        feature_cache_mb: how much of encoded images is kept.
        prefix: whether prompts of one document go on from what they share; false for comparison.
    """

    adapter = "hf_multi_image"
    answers_whole_documents = True
    own_args = (
        "pretrained", "revision", "trust_remote_code", "dtype", "device", "device_map", "attn_implementation",
        "min_pixels", "max_pixels", "peft", "load_in_4bit", "load_in_8bit", "batch_size", "normalise",
        "images_per_prompt", "stitch", "feature_cache_mb", "prefix",
    )  # fmt: skip

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        own = self.own
        if own.get("pretrained") in (None, ""):
            raise UsageError("--model hf_multi_image: say which model: --model_args pretrained=FOLDER or org/name")
        self._device = chosen_device(own.get("device") or None, self.accelerator)
        self._normalise = one_of("normalise", own.get("normalise", "mean"), {"mean": "mean", "sum": "sum"})
        self._stitch = bool(flag("stitch", own.get("stitch", True)))
        self._wants_prefix = bool(flag("prefix", own.get("prefix", True)))
        on_cpu = self._device.type == "cpu"
        self._threads = cores() if on_cpu else 1  # documents follow one another, so a forward has the cores to itself
        asked_batch = count("batch_size", own.get("batch_size"), least=1) or (1 if on_cpu else 8)
        self.loaded = load(_wanted(own, "fp32" if on_cpu else "bf16"), self._device)
        family = self.loaded.family
        self._images = _images_per_prompt(own, family.images)
        self._batch_size = self._asked_batch_size = asked_batch if family.batch else 1
        self._prefix = self._wants_prefix and family.prefix and grows_plainly(self.loaded.net.config)
        self.prompts = ChatPrompts(self.loaded, self.options.system_prompt)
        kept = count("feature_cache_mb", own.get("feature_cache_mb"), least=0)
        self.features = (
            Features(self.loaded.net, self.prompts.pictures, (_FEATURES_MB if kept is None else kept) * 2**20)
            if family.features
            else None
        )
        self._questions = Questions(
            self.options.scoring, self._arranged, lambda: self._spellings, self._normalise, self.prompts
        )
        self._stitched = 0
        self._probed = False
        self.description = self._describe()

    @property
    def device(self) -> torch.device:
        """Where the model runs, and where lmms-eval puts what ranks exchange."""
        return self._device

    def answer(self, asks: Sequence[Ask]) -> Iterator[dict[str, str]]:
        """All questions of a document together; see `multi_image.answering`."""
        import torch

        if not self._probed:
            self.probe().check()
            self._probed = True
        with same_bits(self._device, self._threads), torch.inference_mode():
            documents = ([self._questions.of(ask) for ask in asked] for asked in _by_document(asks))
            answering = self._answering()
            try:
                yield from answering.answers(documents)
            finally:
                self._count(answering)

    def probe(self) -> Probe:
        """Ask about two almost equal images in every way that this run uses.

        Raises:
            ModelError: out of memory.
        """
        import torch

        one_image = with_one_image if self._stitch else None
        with same_bits(self._device, self._threads), torch.inference_mode():
            return probe(
                self.loaded,
                self.prompts,
                self.features,
                arranged=one_image if self._images == "one" else tuple,
                prefix=self._prefix,
                batch_size=self._batch_size,
            )

    def clean(self) -> None:
        """Give the model's memory back; lmms-eval calls it after the last request."""
        import gc

        import torch

        self.prompts.pictures.close()
        del self.loaded, self.prompts, self.features
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _answering(self) -> Answering | PlainAnswering:
        words = self.options.scoring == "generate"
        if self.features is None:
            return PlainAnswering(self.loaded, self.prompts, words=words)
        return Answering(
            self.loaded, self.prompts, self.features, words=words, prefix=self._prefix, batch_size=self._batch_size
        )

    def _arranged(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """A turn as the options and the model have it sent."""
        arranged = self.options.arranged(parts)
        shown = sum(not isinstance(part, str) for part in arranged)
        if self._images == "many" or shown < 2:
            return arranged
        if not self._stitch:
            raise UsageError(
                f"model {self.own['pretrained']}: takes one image a prompt, got {shown}; "
                "stitch=true shows them side by side, images_per_prompt=many sends them all the same"
            )
        self._stitched += 1
        return with_one_image(arranged)

    @cached_property
    def _spellings(self) -> Spellings:
        return Spellings(self.loaded.tokenizer)

    def _count(self, answering: Answering | PlainAnswering) -> None:
        for name, value in answering.work.items():
            self.work[name] = self.work.get(name, 0) + value
        if self.features is not None:
            self.work["images_encoded"] = self.features.computed
        places = self.work.pop("image_places")
        self.work["images_shown"] = self.work.get("images_shown", 0) + places
        self.work["images_reused"] = self.work["images_shown"] - self.work["images_encoded"]
        self.work["prompts_stitched"] = self._stitched
        if answering.batch_size != self._batch_size:
            self._batch_size = answering.batch_size
            self.description = self._describe()

    def _describe(self) -> ModelDescription:
        loaded = self.loaded
        settings = {
            **loaded.settings,
            **self.options.settings,
            "device": self._device.type,
            "hardware": hardware(self._device),
            "decoding": DECODING,
            "threads": self._threads,
            "batch_size": self._batch_size,
            "prefix": self._prefix,
            "features_reused": loaded.family.features,
            "images_per_prompt": self._images,
            "images_lead": self.prompts.images_lead,
            "several_images": LAYOUT if self._images == "one" else "in the prompt",
            "min_pixels": self.own.get("min_pixels"),
            "max_pixels": self.own.get("max_pixels"),
        }
        if self._batch_size != self._asked_batch_size:  # then some rows may have come from larger batches
            settings["batch_size_asked"] = self._asked_batch_size
        if settings["images_lead"] and self.options.image_position == "prompt":
            logger.info("the chat template shows images before the words, wherever the prompt has them")
        if self.options.scoring == "options":
            settings |= {"normalise": self._normalise, "options_end": self.prompts.end_of_turn}
        if self.options.scoring == "generate":
            greedy = Greedy(loaded.net, loaded.tokenizer)
            settings |= {"repetition_penalty": greedy.penalty, "suppressed_tokens": len(greedy.suppressed)}
            if greedy.left_out:
                logger.warning(f"generation_config: {', '.join(greedy.left_out)} left out; replies are greedy")
                settings["left_out"] = greedy.left_out
        return ModelDescription(
            adapter=self.adapter,
            name=str(self.own["pretrained"]),
            weights_sha256=loaded.weights_sha256,
            settings=settings,
            packages=versions("transformers", "tokenizers", *(("peft",) if self.own.get("peft") else ())),
        )


def _wanted(own: Mapping[str, Any], dtype: str) -> Wanted:
    pixels = {name: count(name, own[name], least=1) for name in ("min_pixels", "max_pixels") if own.get(name)}
    bits = [size for size in (4, 8) if flag(f"load_in_{size}bit", own.get(f"load_in_{size}bit"))]
    if len(bits) > 1:
        raise UsageError("model_args load_in_4bit, load_in_8bit: expected one of them, got both")
    source: dict[str, Any] = {"trust_remote_code": bool(flag("trust_remote_code", own.get("trust_remote_code")))}
    if own.get("revision"):
        source["revision"] = str(own["revision"])
    return Wanted(
        pretrained=str(own["pretrained"]),
        dtype=one_of("dtype", own.get("dtype") or dtype, DTYPES),
        source=source,
        device_map=own.get("device_map") or None,
        attn_implementation=own.get("attn_implementation") or None,
        pixels={name: value for name, value in pixels.items() if value is not None},
        peft=str(own["peft"]) if own.get("peft") else None,
        bits=bits[0] if bits else None,
    )


def _images_per_prompt(own: Mapping[str, Any], default: str) -> str:
    asked = one_of("images_per_prompt", own.get("images_per_prompt", default), {"many": "many", "one": "one"})
    if asked != default:
        logger.warning(f"images_per_prompt={asked}: this family was trained on {default} image(s) a prompt")
    return asked


def _by_document(asks: Sequence[Ask]) -> list[list[Ask]]:
    documents: dict[tuple[str, int], list[Ask]] = {}
    for ask in asks:
        documents.setdefault(ask.document, []).append(ask)
    return list(documents.values())
