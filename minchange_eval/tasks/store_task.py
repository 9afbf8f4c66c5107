"""The lmms-eval task over a prepared data set; what benchmarks differ in is in their YAML file and card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from hashlib import sha256
from typing import Any, ClassVar

from lmms_eval.api.instance import Instance
from lmms_eval.api.task import ConfigurableTask
from PIL import Image

from minchange_eval.core.answers import Answer, read_answer
from minchange_eval.core.errors import UsageError
from minchange_eval.core.forms import merged
from minchange_eval.core.images import open_image
from minchange_eval.core.items import CandidateSet, ChoiceQuestion, Item, item_id
from minchange_eval.core.metrics import Kind
from minchange_eval.core.outcomes import QueryOutcome, outcome_of
from minchange_eval.core.prompts import Part, Prompt, applies, candidate_labels, placed_images, render
from minchange_eval.core.queries import Direction, Query, queries_of_set, query_of_question, query_of_statement
from minchange_eval.data.prepare import open_or_prepare
from minchange_eval.data.views import VIEWS
from minchange_eval.data.vsr_relations import statement_fields, statement_slices
from minchange_eval.tasks import aggregation
from minchange_eval.tasks.balanced import balanced_items
from minchange_eval.tasks.documents import ItemDocuments, in_turn
from minchange_eval.tasks.prompts import prompt
from minchange_eval.tasks.variants import (
    ORDERS,
    OtherImages,
    Variant,
    blank_images,
    swapped,
    with_images,
    worded,
)

SPLIT = "test"


class StoreTask(ConfigurableTask):  # type: ignore[misc]  # lmms-eval is untyped
    """One document is one item, one request is one query in one form; `--limit` therefore never cuts a set.

    The YAML file's `metadata` names the data set, and where they apply its subset, view, variant and words: `prompt`,
    or a `bank` with the `wordings` of it that are asked.

    Attributes:
        store: the data set as it lay on disk when the task was built.
        items: the items that this task asks; of several subsets in turn, so that `--limit` takes some of each.
        left_out: how many items of the data are not among them: their wording cannot be exchanged, or an audit found
            that they can be solved without looking.
        subsets: theirs, by name.
        variant: which forms it asks in place of the released one; empty for that one.
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
    def variant(self) -> Variant:
        found: Variant = self.config.metadata.get("variant", "")
        return found

    @cached_property
    def prompts(self) -> tuple[Prompt, ...]:
        """Every wording for chat models that it may use; none for a task that only encoders can answer."""
        wanted = self.config.metadata
        if "bank" in wanted:
            return tuple(prompt(f"{wanted['bank']}/{wording}") for wording in wanted["wordings"])
        return (prompt(wanted["prompt"]),) if "prompt" in wanted else ()

    @property
    def prompt(self) -> Prompt | None:
        """The wording of a task that has one."""
        return self.prompts[0] if len(self.prompts) == 1 else None

    @property
    def prompt_sha256(self) -> str | None:
        """Digest over every wording that it may use."""
        digests = [wording.sha256 for wording in self.prompts]
        return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest() if digests else None

    @cached_property
    def prompt_source(self) -> str:
        """Whose words: `published`, `rebuilt`, `ours`, `released` (the data's question columns) or two of them."""
        origin = self.prompts[0].origin if self.prompts else ""
        if not self._asks_released_questions:
            return origin
        asked = {bool(query.question) for item in self.items for query in self.queries(item)}
        return " and ".join(source for released, source in ((True, "released"), (False, origin)) if released in asked)

    @property
    def _asks_released_questions(self) -> bool:
        # in other orders the options of a released question would stand in other places than it says
        return bool(self.prompt and self.prompt.released) and self.variant not in ORDERS

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
        self.left_out = 0
        if self.variant == "swapped":
            self.items = [item for item in items if all(map(swapped, self.queries(item)))]
            self.left_out = len(items) - len(self.items)
        if self.variant == "balanced":
            self.items = balanced_items(items, self.store.card)
            self.left_out = len(items) - len(self.items)
            # another subset of the same data has other items under the same numbers
            wanted["items_sha256"] = sha256("\n".join(map(item_id, self.items)).encode()).hexdigest()
        if len(self.subsets) > 1:
            self.items = in_turn(self.items)
        self._other_images = OtherImages(self.store.items)
        # lmms-eval's cache of answers is keyed by the task's configuration, and would not notice other data or words
        wanted["fingerprint"], wanted["prompt_sha256"] = self.store.card.fingerprint, self.prompt_sha256
        self.dataset = {SPLIT: ItemDocuments(self.items)}
        self.dataset_no_image = self.dataset

    def _prepare_metric_and_aggregation(self) -> None:
        # In place of lmms-eval's registry of metrics by output type, of which none fits a candidate set.
        self._metric_fn_list: dict[str, None] = dict.fromkeys(self.metrics)
        self._metric_fn_kwargs: dict[str, dict[str, Any]] = {name: {} for name in self.metrics}
        self._higher_is_better = {name: name not in aggregation.FEWER_IS_BETTER for name in self.metrics}
        self._aggregation_list = {**self.metrics, "queries": self._keep_outcomes}

    def queries(self, item: Item) -> tuple[Query, ...]:
        """The queries of an item as released, each in one form."""
        if isinstance(item, CandidateSet):
            names = self.prompt.released if self.prompt and self._asks_released_questions else ()
            return tuple(map(_placed, queries_of_set(item, [str(item.facts.get(name) or "") for name in names])))
        return (query_of_question(item, as_released=self.variant == "raw"),)

    def asks(self, item: Item) -> tuple[tuple[Query, Prompt | None], ...]:
        """Every query of an item in every form, with its wording, in the order in which the answers come back."""
        queries = self._shown(item)
        if self.variant == "templates":
            return tuple(
                (worded(query, wording.name.split("/")[1]), wording)
                for query in queries
                for wording in self.prompts
                if applies(query, wording)
            )
        forms = ORDERS.get(self.variant)
        return tuple((form, self.prompt) for query in queries for form in (forms(query) if forms else (query,)))

    def _shown(self, item: Item) -> tuple[Query, ...]:
        if self.variant == "blank":
            return with_images(self.queries, item, blank_images(item))
        if self.variant == "otherpair":
            return with_images(self.queries, item, self._other_images(item))
        return self.queries(item)

    def slices(self, item: Item) -> tuple[str, ...]:
        """Further slices of the data that an item belongs to, beside its subset."""
        return ()

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        return str(doc["item_id"])

    def doc_to_target(self, doc: dict[str, Any]) -> str:
        return ",".join(str(answer) for query, _ in self.asks(self.items[doc["number"]]) for answer in query.answers)

    def doc_to_visual(self, doc: dict[str, Any]) -> list[Image.Image]:
        return [open_image(image) for image in self.items[doc["number"]].images]

    def fewshot_context(self, doc: dict[str, Any], *_: Any, **__: Any) -> str:
        return ""  # each query has a prompt of its own

    def construct_requests(self, doc_id: int, ctx: str, **kwargs: Any) -> list[Instance]:
        """One request per query and form: the typed query in `metadata["query"]`, its wording in `["prompt"]`."""
        return [
            Instance(
                request_type="generate_until",
                arguments=self._arguments(query, wording, doc_id),
                idx=idx,
                metadata={**kwargs["metadata"], "query": query, "prompt": wording},
            )
            for idx, (query, wording) in enumerate(self.asks(self.items[doc_id]))
        ]

    def _arguments(self, query: Query, wording: Prompt | None, doc_id: int) -> tuple[Any, ...]:
        settings = dict(self.config.generation_kwargs)
        place = (doc_id, self.config.task, SPLIT)
        if self.task_type == "chat":
            return ("", partial(self._messages, query, wording), settings, *place)
        # text and images apart: all that models of the simple interface take
        words = "" if wording is None else "".join(part for part in render(query, wording) if isinstance(part, str))
        return (words, settings, partial(self._pictures, query, wording), *place)

    def _messages(self, query: Query, wording: Prompt | None, _doc: dict[str, Any]) -> list[dict[str, Any]]:
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "url": open_image(part)}
            for part in self._turn(query, wording)
        ]
        return [{"role": "user", "content": content}]

    def _pictures(self, query: Query, wording: Prompt | None, _doc: dict[str, Any]) -> list[Image.Image]:
        return [open_image(part) for part in self._turn(query, wording) if not isinstance(part, str)]

    def _turn(self, query: Query, wording: Prompt | None) -> tuple[Part, ...]:
        if wording is None:
            raise UsageError(
                f"task {self.canonical_name}: has no prompt, only dual encoders can answer it; "
                "run it with --model open_clip or --model hf_dual_encoder"
            )
        return render(query, wording)

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, Any]:
        """The item's share of each metric, and its outcomes under `queries`.

        An answer that cannot be read is unscored.
        """
        item = self.items[doc["number"]]
        outcomes = [
            outcome_of(query, item.subset, _answer(query, wording, text), self.slices(item))
            for (query, wording), text in zip(self.asks(item), results, strict=True)
        ]
        return {**self.shares(merged(outcomes)), "queries": [outcome.model_dump(mode="json") for outcome in outcomes]}

    def shares(self, outcomes: Sequence[QueryOutcome]) -> dict[str, Any]:
        """What one item adds to each of `metrics`: its outcomes, those in several orders merged into one."""
        raise NotImplementedError

    def _keep_outcomes(self, rows: list[list[dict[str, Any]]]) -> int:
        by_id = {row["query_id"]: row for item_rows in rows for row in item_rows}
        self.outcomes = tuple(QueryOutcome.model_validate(by_id[query_id]) for query_id in sorted(by_id))
        return len(self.outcomes)

    def higher_is_better(self) -> dict[str, bool]:
        return self._higher_is_better


def _placed(query: Query) -> Query:
    """The query, without a released question that has places for another number of images."""
    return query if placed_images(query.question) in (0, len(query.images)) else replace(query, question="")


def _answer(query: Query, wording: Prompt | None, text: object) -> Answer:
    options = () if query.direction is Direction.TEXT_TO_IMAGE else query.texts
    return read_answer(text if isinstance(text, str) else "", _labels(query, wording), options)


def _labels(query: Query, wording: Prompt | None) -> tuple[str, ...]:
    if wording is None:  # encoders answer with scores; these names are never shown
        return tuple(str(position) for position in range(query.candidates))
    return candidate_labels(query, wording)


class CandidateSetTask(StoreTask):
    """K x K sets: accuracies over queries, text, image and group scores over sets; of several subsets the mean."""

    kind = "sets"

    metrics: ClassVar[dict[str, Callable[[list[Any]], float]]] = {
        "i2t_accuracy": aggregation.mean_of_subsets_share,
        "t2i_accuracy": aggregation.mean_of_subsets_share,
        "text_score": aggregation.mean_of_subsets_share,
        "image_score": aggregation.mean_of_subsets_share,
        "group_score": aggregation.mean_of_subsets_share,
        "pair_mean": aggregation.mean_of_subsets_share,
        "unscored": aggregation.total,
        "tied": aggregation.total,
        "queries": aggregation.total,
    }

    def shares(self, outcomes: Sequence[QueryOutcome]) -> dict[str, Any]:
        text = [outcome.hit for outcome in outcomes if outcome.direction == "i2t"]
        image = [outcome.hit for outcome in outcomes if outcome.direction == "t2i"]
        whole = (all(text), all(image), all(text) and all(image))
        subset = outcomes[0].subset
        return {
            "i2t_accuracy": [subset, sum(text), len(text)],
            "t2i_accuracy": [subset, sum(image), len(image)],
            "text_score": [subset, int(whole[0]), 1],
            "image_score": [subset, int(whole[1]), 1],
            "group_score": [subset, int(whole[2]), 1],
            "pair_mean": [subset, sum(whole), 3],
            **_flaws(outcomes),
        }


class ChoiceTask(StoreTask):
    """Questions with options: accuracy over questions (`micro`) and the mean over subsets (`macro`)."""

    kind = "questions"

    metrics: ClassVar[dict[str, Callable[[list[Any]], float]]] = {
        "macro": aggregation.mean_of_subsets_share,
        "micro": aggregation.share,
        "unscored": aggregation.total,
        "tied": aggregation.total,
        "queries": aggregation.total,
    }

    def shares(self, outcomes: Sequence[QueryOutcome]) -> dict[str, Any]:
        hits, tries = _hits(outcomes)
        return {"macro": [outcomes[0].subset, hits, tries], "micro": [hits, tries], **_flaws(outcomes)}


class StatementTask(StoreTask):
    """Statements about one image, true or false of it: accuracy over statements."""

    kind = "statements"

    metrics: ClassVar[dict[str, Callable[[list[Any]], float]]] = {
        "accuracy": aggregation.mean_of_subsets_share,
        "unscored": aggregation.total,
        "tied": aggregation.total,
        "queries": aggregation.total,
    }

    def queries(self, item: Item) -> tuple[Query, ...]:
        assert isinstance(item, ChoiceQuestion)
        return (query_of_statement(item, statement_fields(item)),)

    def slices(self, item: Item) -> tuple[str, ...]:
        assert isinstance(item, ChoiceQuestion)
        return statement_slices(item)

    def shares(self, outcomes: Sequence[QueryOutcome]) -> dict[str, Any]:
        return {"accuracy": [outcomes[0].subset, *_hits(outcomes)], **_flaws(outcomes)}


def _hits(outcomes: Sequence[QueryOutcome]) -> tuple[int, int]:
    return sum(outcome.hit for outcome in outcomes), len(outcomes)


def _flaws(outcomes: Sequence[QueryOutcome]) -> dict[str, int]:
    return {
        "unscored": sum(outcome.unscored for outcome in outcomes),
        "tied": sum(outcome.tie for outcome in outcomes),
    }
