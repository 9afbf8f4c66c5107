"""Dual encoders under lmms-eval: every distinct image and caption is encoded once for the whole run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from lmms_eval.api.model import lmms
from loguru import logger
from numpy.typing import NDArray
from tqdm import tqdm

from minchange_eval.core.answers import write_scores
from minchange_eval.core.errors import UsageError
from minchange_eval.core.images import DECODING
from minchange_eval.core.items import ImageSource
from minchange_eval.core.queries import Direction, Query, candidate_scores
from minchange_eval.core.record import ModelDescription
from minchange_eval.model_adapters.arithmetic import hardware, lanes, same_bits
from minchange_eval.model_adapters.embedding_log import EmbeddingLog, log_folder, text_key
from minchange_eval.model_adapters.encoder import Encoder
from minchange_eval.model_adapters.model_args import EncodingOptions, arguments, check_names
from minchange_eval.model_adapters.ranks import accelerator, chosen_device
from minchange_eval.model_adapters.streaming import (
    BatchTooLargeError,
    LoadImage,
    Rows,
    loaded,
    stream_images,
    stream_texts,
)

if TYPE_CHECKING:
    import torch

Content = TypeVar("Content")
Embeddings = dict[str, tuple[NDArray[np.float32], bool]]  # key -> embedding [width] of length 1, was the text cut?


class DualEncoder(lmms):  # type: ignore[misc]
    """Base of the adapters: answers typed queries with one similarity a candidate.

    A subclass names itself (`adapter`), its own model_args (`own_args`) and loads its `Encoder` (`load`).

    Attributes:
        description: what may change an answer; the same on every rank and in every run of one machine, unless memory
            ran out: then it says the batch size that fitted, and the one that was asked for.
        work: counts and seconds of this run; they differ between runs.
    """

    is_simple = True
    adapter: ClassVar[str]
    own_args: ClassVar[tuple[str, ...]]

    def __init__(self, **given: Any) -> None:
        super().__init__()
        given.pop("max_batch_size", None)
        check_names(given, (*self.own_args, *EncodingOptions.NAMES), self.adapter)
        self.options = EncodingOptions.read(given)
        self.accelerator = accelerator()
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        self._device = chosen_device(self.options.device, self.accelerator)
        own = {name: value for name, value in given.items() if name in self.own_args}
        self._answer_with(self.load(own, self._device, self.options.dtype))

    @classmethod
    def over(cls, encoder: Encoder, options: EncodingOptions, load_image: LoadImage = loaded) -> Self:
        """The adapter over a model that is already loaded, in this process alone and without progress bars.

        Args:
            encoder: its device is the adapter's; its model is in evaluation mode.
            options: `dtype` says what the encoder is in; `device` is not read.
            load_image: how one image becomes the model's input; called in loader threads.
        """
        made = cls.__new__(cls)
        lmms.__init__(made)  # rank 0 of 1, whatever other processes there are
        made.options, made._device = options, encoder.device
        made._answer_with(encoder)
        made._silent, made._load_image = True, load_image
        return made

    def _answer_with(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._silent = self._rank != 0
        self._load_image: LoadImage = loaded
        self._asked_batch_size = self.options.batch_size or (32 if self._device.type == "cpu" else 128)
        self.batch_size = self._asked_batch_size
        self.description = self._describe()
        counted = [f"{kind}s_{how}" for kind in ("image", "text") for how in ("encoded", "from_log")]
        self.work: dict[str, float] = {"batch_size": self.batch_size, "seconds": 0, **dict.fromkeys(counted, 0)}
        self._rows: dict[str, Embeddings] = {"image": {}, "text": {}}

    @classmethod
    def load(cls, own: Mapping[str, Any], device: torch.device, dtype: str) -> Encoder:
        """The encoder that the adapter's own model_args ask for.

        Raises:
            UsageError: they ask for something that does not exist or does not go together.
        """
        raise NotImplementedError

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: Mapping[str, Any] | None = None) -> DualEncoder:
        """As lmms-eval calls it. What stands in model_args wins over the command line's own options."""
        return cls(**arguments(arg_string, additional_config))

    @property
    def device(self) -> torch.device:
        """Where the model runs, and where lmms-eval puts what ranks exchange."""
        return self._device

    def generate_until(self, requests: list[Any]) -> list[str]:
        """One answer a request: the scores of its query's candidates, as `core.answers.write_scores` writes them.

        Raises:
            UsageError: a request without a typed query.
            DataError: an image cannot be read.
        """
        queries = [self._query(request) for request in requests]
        sources, captions = _distinct(queries)
        started = time.monotonic()
        with same_bits(self._device):
            self._encode("image", sources, self._image_batches)
            self._encode("text", captions, self._text_batches)
        answers = _answers(queries, self._rows["image"], self._rows["text"])
        self.work["truncated_captions"] = sum(truncated for _, truncated in self._rows["text"].values())
        self.work["seconds"] += time.monotonic() - started
        cut = sum(self._rows["text"][key][1] for key in captions)
        if cut and not self._silent:
            logger.warning(f"{cut} of {len(captions)} captions are longer than the model's context and were cut to it")
        return answers

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Refused: a dual encoder has no likelihood of a text."""
        raise UsageError(_ONLY_OURS.format(adapter=self.adapter, asked="a task that asks for likelihoods"))

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        """Refused: a dual encoder holds no conversation."""
        raise UsageError(_ONLY_OURS.format(adapter=self.adapter, asked="a task of several rounds"))

    def clean(self) -> None:
        """Give the model's memory back; lmms-eval calls it after the last request.

        Nothing here is part of a cycle, so that memory is back at once. lmms-eval's own way is two garbage collections
        over everything that is imported, which on CPU take longer than the scoring of SPEC's queries.
        """
        del self.encoder
        if self._device.type == "cuda":
            _free(self._device)

    def _describe(self) -> ModelDescription:
        encoder = self.encoder
        settings = {
            **encoder.settings,
            "dtype": self.options.dtype,
            "batch_size": self.batch_size,
            "decoding": DECODING,
            "device": self._device.type,
            "hardware": hardware(self._device),
            "normalised": True,
        }
        if self.batch_size != self._asked_batch_size:  # then some rows may have come from larger batches
            settings["batch_size_asked"] = self._asked_batch_size
        return ModelDescription(
            adapter=self.adapter,
            name=encoder.name,
            weights_sha256=encoder.weights_sha256,
            settings=settings,
            packages=dict(encoder.packages),
        )

    def _query(self, request: Any) -> Query:
        query = (request.metadata or {}).get("query")
        if not isinstance(query, Query):
            raise UsageError(_ONLY_OURS.format(adapter=self.adapter, asked=f"task {request.task_name}"))
        if query.direction is Direction.STATEMENT:
            raise UsageError(
                f"--model {self.adapter}: compares one image with one text and cannot say whether a statement is true; "
                f"run {request.task_name} with a chat model"
            )
        if query.is_wording:
            raise UsageError(
                f"--model {self.adapter}: reads no prompt, so the wordings of {request.task_name} change nothing for "
                f"it; run {str(request.task_name).removesuffix('_templates')}"
            )
        return query

    def _encode(
        self, kind: str, contents: Mapping[str, Content], stream: Callable[[Sequence[Content], int], Iterator[Rows]]
    ) -> None:
        """Put the embedding of each content into `_rows`: from an earlier call, from the log, or from the model."""
        while missing := {key: content for key, content in contents.items() if key not in self._rows[kind]}:
            if not self._fits_in_memory(kind, missing, stream):
                self._halve_batches()

    def _fits_in_memory(
        self, kind: str, missing: Mapping[str, Content], stream: Callable[[Sequence[Content], int], Iterator[Rows]]
    ) -> bool:
        """Whether everything missing was taken; if not, the batches that fitted were."""
        log = self._log()
        try:
            known = log.read(kind, missing) if log else {}
            self._rows[kind].update(known)
            self.work[f"{kind}s_from_log"] += len(known)
            keys = [key for key in missing if key not in known]
            hidden = self._silent or not keys
            with tqdm(total=len(keys), unit=kind, desc=f"encoding {kind}s", disable=hidden) as bar:
                self._take(kind, keys, stream([missing[key] for key in keys], self.batch_size), log, bar)
        except BatchTooLargeError:
            if self.batch_size == 1:
                raise
            return False
        finally:
            if log:
                log.close()
        return True

    def _halve_batches(self) -> None:
        """Take half the batch size from here on. Not in the handler of the error, which holds what did not fit."""
        self.batch_size //= 2
        self.work["batch_size"] = self.batch_size
        self.description = self._describe()
        logger.warning(f"out of memory: batch size is now {self.batch_size}, {self._asked_batch_size} was asked for")
        _free(self._device)

    def _take(self, kind: str, keys: list[str], batches: Iterator[Rows], log: EmbeddingLog | None, bar: Any) -> None:
        done = 0
        for vectors, truncated in batches:
            batch = keys[done : done + len(vectors)]
            if log:
                log.append(kind, batch, vectors, truncated)
            self._rows[kind].update(zip(batch, zip(vectors, truncated, strict=True), strict=True))
            done += len(batch)
            self.work[f"{kind}s_encoded"] += len(batch)
            bar.update(len(batch))

    def _image_batches(self, sources: Sequence[ImageSource], batch_size: int) -> Iterator[Rows]:
        side_by_side = lanes(self._device)
        loaders = self.options.num_workers
        if loaders is None:
            loaders = side_by_side if self._device.type == "cpu" else 8
        return stream_images(
            self.encoder,
            sources,
            batch_size=batch_size,
            lanes=side_by_side,
            loaders=loaders,
            load=self._load_image,
        )

    def _text_batches(self, captions: Sequence[str], batch_size: int) -> Iterator[Rows]:
        return stream_texts(self.encoder, captions, batch_size=batch_size, lanes=lanes(self._device))

    def _log(self) -> EmbeddingLog | None:
        if not self.options.log:
            return None
        key = self.description.model_dump(mode="json", exclude={"name": True, "settings": {"batch_size_asked"}})
        return EmbeddingLog(log_folder(key), {**key, "name": self.description.name})


_ONLY_OURS = (
    "--model {adapter}: compares one image with one text and only answers the tasks of minchange-eval "
    "(spec, vismin, med, …; see minchange-eval list), got {asked}"
)


def _distinct(queries: Sequence[Query]) -> tuple[dict[str, ImageSource], dict[str, str]]:
    """Every distinct image and caption by key, in the order of first appearance."""
    sources: dict[str, ImageSource] = {}
    captions: dict[str, str] = {}
    for query in queries:
        for source in query.images:
            sources.setdefault(source.sha256, source)
        for caption in query.texts:
            captions.setdefault(text_key(caption), caption)
    return sources, captions


def _answers(queries: Sequence[Query], images: Embeddings, texts: Embeddings) -> list[str]:
    """The scores of each query as text, from the embeddings of its images and captions."""
    answers = []
    for query in queries:
        left = np.stack([images[source.sha256][0] for source in query.images])
        cut = [texts[text_key(caption)] for caption in query.texts]
        similarity = _similarity(left, np.stack([vector for vector, _ in cut]))
        scores = candidate_scores(query, similarity)
        answers.append(write_scores(scores, truncated=sum(truncated for _, truncated in cut)))
    return answers


def _similarity(images: NDArray[np.float32], texts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines [images, texts] of rows of length 1.

    A sum over the last axis, not a matrix product: its bits do not depend on how many rows there are.
    """
    products: NDArray[np.float32] = (images[:, None, :] * texts[None, :, :]).sum(axis=-1, dtype=np.float32)
    return products


def _free(device: torch.device) -> None:
    import gc

    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
