"""The lmms-eval task over a prepared data set; what benchmarks differ in is in their YAML file and card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from lmms_eval.api.instance import Instance
from lmms_eval.api.task import ConfigurableTask
from PIL import Image

from minchange_eval.core.answers import Answer, read_answer
from minchange_eval.core.errors import UsageError
from minchange_eval.core.images import open_image
from minchange_eval.core.items import CandidateSet, Item
from minchange_eval.core.metrics import Kind
from minchange_eval.core.prompts import Prompt, candidate_labels, render
from minchange_eval.core.queries import Direction, Query, queries_of_set, query_of_question
from minchange_eval.core.record import QueryOutcome, outcome_of
from minchange_eval.data.prepare import open_or_prepare
from minchange_eval.data.views import VIEWS
from minchange_eval.tasks import aggregation
from minchange_eval.tasks.documents import ItemDocuments
from minchange_eval.tasks.prompts import prompt

SPLIT = "test"


class StoreTask(ConfigurableTask):  # type: ignore[misc]  # lmms-eval is untyped
    """One document is one item, one request is one query; `--limit` therefore never cuts a set.

    The YAML file's `metadata` names the data set, and where they apply its subset, prompt and view.

    Attributes:
        store: the data set as it lay on disk when the task was built.
        items: the items that this task asks.
        subsets: theirs, by name.
        prompt: the wording for chat models; None for a task that only encoders can answer.
        outcomes: after aggregation, on rank 0: every query of the run.
    """

    kind: ClassVar[Kind]
    metrics: ClassVar[dict[str, Callable[[list[Any]], float]]] = {}

    def __init__(self, config: dict[str, Any], model_name: str | None = None) -> None:
        settings = {key: value for key, value in config.items() if key != "class"}
        settings.setdefault("test_split", SPLIT)
        settings.setdefault("generation_kwargs", {"max_new_tokens": 128, "do_sample": False, "until": []})
        self.canonical_name = str(settings["task"])  # lmms-eval's own name for it may be an alias
        self.task_type = "simple"  # the hook says "chat" where the model takes messages
        self.outcomes: tuple[QueryOutcome, ...] = ()
        super().__init__(config=settings, model_name=model_name)

    @property
    def prompt(self) -> Prompt | None:
        name = self.config.metadata.get("prompt")
        return prompt(name) if name else None

    @property
    def prompt_sha256(self) -> str | None:
        """Digest over every wording that the task may use."""
        return self.prompt.sha256 if self.prompt else None

    @property
    def prompt_source(self) -> str:
        """Whose words they are."""
        return self.prompt.origin if self.prompt else ""

    @property
    def variant(self) -> str:
        """Which variant of its data set's own task this is; empty for that task itself."""
        return str(self.config.metadata.get("variant", ""))

    @property
    def left_out(self) -> int:
        """How many items cannot be asked in this variant."""
        return 0

    def download(self, dataset_kwargs: dict[str, Any] | None = None) -> None:
        """Open the store; lmms-eval calls this once, when the task is built."""
        wanted = self.config.metadata
        self.store = open_or_prepare(wanted["dataset"])
        view = VIEWS[wanted["view"]] if "view" in wanted else None
        items = self.store.items(wanted.get("subset"))
        self.items: Sequence[Item] = view(items) if view else items
        if "subset" in wanted:
            self.subsets: tuple[str, ...] = (wanted["subset"],)
        else:
            self.subsets = tuple(sorted({item.subset for item in self.items} if view else self.store.subsets))
        # lmms-eval's cache of answers is keyed by the task's configuration, and would not notice other data or words
        wanted["fingerprint"], wanted["prompt_sha256"] = self.store.card.fingerprint, self.prompt and self.prompt.sha256
        self.dataset = {SPLIT: ItemDocuments(self.items)}
        self.dataset_no_image = self.dataset

    def _prepare_metric_and_aggregation(self) -> None:
        # In place of lmms-eval's registry of metrics by output type, of which none fits a candidate set.
        self._metric_fn_list: dict[str, None] = dict.fromkeys(self.metrics)
        self._metric_fn_kwargs: dict[str, dict[str, Any]] = {name: {} for name in self.metrics}
        self._higher_is_better = {name: name not in aggregation.FEWER_IS_BETTER for name in self.metrics}
        self._aggregation_list = {**self.metrics, "queries": self._keep_outcomes}

    def queries(self, item: Item) -> tuple[Query, ...]:
        """The queries of an item, in the order in which their answers come back."""
        return queries_of_set(item) if isinstance(item, CandidateSet) else (query_of_question(item),)

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        return str(doc["item_id"])

    def doc_to_target(self, doc: dict[str, Any]) -> str:
        return ",".join(str(answer) for query in self.queries(self.items[doc["number"]]) for answer in query.answers)

    def doc_to_visual(self, doc: dict[str, Any]) -> list[Image.Image]:
        return [open_image(image) for image in self.items[doc["number"]].images]

    def fewshot_context(self, doc: dict[str, Any], *_: Any, **__: Any) -> str:
        return ""  # each query has a prompt of its own

    def construct_requests(self, doc_id: int, ctx: str, **kwargs: Any) -> list[Instance]:
        """One request per query, the typed query in `metadata["query"]`."""
        return [
            Instance(
                request_type="generate_until",
                arguments=self._arguments(query, doc_id),
                idx=idx,
                metadata={**kwargs["metadata"], "query": query, "prompt": self.prompt},
            )
            for idx, query in enumerate(self.queries(self.items[doc_id]))
        ]

    def _arguments(self, query: Query, doc_id: int) -> tuple[Any, ...]:
        settings = dict(self.config.generation_kwargs)
        place = (doc_id, self.config.task, SPLIT)
        if self.task_type == "chat":
            return ("", partial(self._messages, query), settings, *place)
        words = "" if self.prompt is None else _words(query, self.prompt)
        return (words, settings, partial(self._pictures, query), *place)

    def _messages(self, query: Query, _doc: dict[str, Any]) -> list[dict[str, Any]]:
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "url": open_image(part)}
            for part in render(query, self._wording())
        ]
        return [{"role": "user", "content": content}]

    def _pictures(self, query: Query, _doc: dict[str, Any]) -> list[Image.Image]:
        self._wording()
        return [open_image(image) for image in query.images]

    def _wording(self) -> Prompt:
        if self.prompt is None:
            raise UsageError(
                f"task {self.canonical_name}: has no prompt, only dual encoders can answer it; "
                "run it with --model open_clip or --model hf_dual_encoder"
            )
        return self.prompt

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, Any]:
        """The item's share of each metric, and its outcomes under `queries`.

        An answer that cannot be read is unscored.
        """
        item = self.items[doc["number"]]
        outcomes = [
            outcome_of(query, item.subset, self._answer(query, text))
            for query, text in zip(self.queries(item), results, strict=True)
        ]
        return {**self.shares(outcomes), "queries": [outcome.model_dump(mode="json") for outcome in outcomes]}

    def _answer(self, query: Query, text: object) -> Answer:
        options = () if query.direction is Direction.TEXT_TO_IMAGE else query.texts
        return read_answer(text if isinstance(text, str) else "", self._labels(query), options)

    def _labels(self, query: Query) -> tuple[str, ...]:
        if self.prompt is None:  # encoders answer with scores; these names are never shown
            return tuple(str(position) for position in range(query.candidates))
        return candidate_labels(query, self.prompt)

    def shares(self, outcomes: Sequence[QueryOutcome]) -> dict[str, Any]:
        """What one item adds to each of `metrics`."""
        raise NotImplementedError

    def _keep_outcomes(self, rows: list[list[dict[str, Any]]]) -> int:
        by_id = {row["query_id"]: row for item_rows in rows for row in item_rows}
        self.outcomes = tuple(QueryOutcome.model_validate(by_id[query_id]) for query_id in sorted(by_id))
        return len(self.outcomes)

    def higher_is_better(self) -> dict[str, bool]:
        return self._higher_is_better


def _words(query: Query, prompt: Prompt) -> str:
    """The text alone, for models of lmms-eval's simple interface, which get images and text apart."""
    return "".join(part for part in render(query, prompt) if isinstance(part, str))


class CandidateSetTask(StoreTask):
    """K x K sets: accuracies over queries, text, image and group scores over sets."""

    kind = "sets"

    metrics: ClassVar[dict[str, Callable[[list[Any]], float]]] = {
        "i2t_accuracy": aggregation.share,
        "t2i_accuracy": aggregation.share,
        "text_score": aggregation.share,
        "image_score": aggregation.share,
        "group_score": aggregation.share,
        "pair_mean": aggregation.share,
        "unscored": aggregation.total,
        "tied": aggregation.total,
        "queries": aggregation.total,
    }

    def shares(self, outcomes: Sequence[QueryOutcome]) -> dict[str, Any]:
        text = [outcome.hit for outcome in outcomes if outcome.direction == "i2t"]
        image = [outcome.hit for outcome in outcomes if outcome.direction == "t2i"]
        whole = (all(text), all(image), all(text) and all(image))
        return {
            "i2t_accuracy": [sum(text), len(text)],
            "t2i_accuracy": [sum(image), len(image)],
            "text_score": [int(whole[0]), 1],
            "image_score": [int(whole[1]), 1],
            "group_score": [int(whole[2]), 1],
            "pair_mean": [sum(whole), 3],
            "unscored": sum(outcome.unscored for outcome in outcomes),
            "tied": sum(outcome.tie for outcome in outcomes),
        }


class ChoiceTask(StoreTask):
    """Questions with options: accuracy over questions (`micro`) and the mean over subsets (`macro`)."""

    kind = "questions"

    metrics: ClassVar[dict[str, Callable[[list[Any]], float]]] = {
        "macro": aggregation.mean_of_subsets,
        "micro": aggregation.share,
        "unscored": aggregation.total,
        "tied": aggregation.total,
        "queries": aggregation.total,
    }

    def shares(self, outcomes: Sequence[QueryOutcome]) -> dict[str, Any]:
        (outcome,) = outcomes
        return {
            "macro": [outcome.subset, int(outcome.hit)],
            "micro": [int(outcome.hit), 1],
            "unscored": int(outcome.unscored),
            "tied": int(outcome.tie),
        }
