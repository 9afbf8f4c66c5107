"""lmms-eval's options as far as they decide what a record may claim."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from minchange_eval.core.errors import IncompleteError, UsageError
from minchange_eval.core.record import ModelDescription

if TYPE_CHECKING:
    from minchange_eval.tasks.store_task import StoreTask

SECRET_NAME = re.compile(r"(?:^|_)(?:token|api_?key|secret|password|credentials?)$", re.IGNORECASE)
_NAMES_THE_MODEL = ("pretrained", "model", "model_name", "model_version")
# options of the command line that change what a chat model sees or how its reply is cut
_CHANGES_ANSWERS = ("system_instruction", "apply_chat_template", "reasoning_tags", "force_simple")


@dataclass(frozen=True)
class Asked:
    """Which part of each task a run asks.

    Attributes:
        limit: items of each task: a number, or a share below 1; None for all.
        offset: how many items of each task are passed over first.
        cached: `--use_cache` answers from earlier runs.
    """

    limit: float | None
    offset: int
    cached: bool

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> Asked:
        """From the keywords of `evaluator.evaluate`."""
        limit = options.get("limit")
        return cls(
            limit=None if limit in (None, -1) else float(limit),
            offset=int(options.get("offset") or 0),
            cached=options.get("response_cache") is not None,
        )

    def check(self, tasks: Sequence[StoreTask], lm: Any) -> None:
        """Refuse what would make numbers that mean something else than they say.

        Raises:
            UsageError: the option, and what to do instead.
        """
        if not tasks:
            return
        if self.cached and isinstance(getattr(lm, "description", None), ModelDescription):
            raise UsageError(
                "--use_cache: lmms-eval's cache does not notice other weights or images; drop it: embeddings and "
                "answers are logged by content, and a second run reads them from there"
            )
        if self.limit is not None and 0 < self.limit < 1 and len(tasks) > 1:
            raise UsageError(
                f"--limit {self.limit:g}: lmms-eval takes the first task's share for all tasks; give a number of items"
            )
        for task in tasks:
            if task.config.repeats > 1:
                raise UsageError(f"--repeats {task.config.repeats}: a record holds one answer to each query; drop it")
            if self.items_of(task) == 0:
                raise UsageError(
                    f"task {task.canonical_name}: --limit and --offset leave none of its {len(task.items)} items"
                )

    def items_of(self, task: StoreTask) -> int:
        """How many items of a task these options ask."""
        left = max(0, len(task.items) - self.offset)
        if self.limit is None:
            return left
        wanted = math.ceil(len(task.items) * self.limit) if 0 < self.limit < 1 else int(self.limit)
        return min(left, wanted)

    def require_all(self, task: StoreTask, items: int) -> None:
        """Make sure that every item that was asked came back.

        Raises:
            IncompleteError: some did not.
        """
        expected = self.items_of(task)
        if items != expected:
            raise IncompleteError(
                f"task {task.canonical_name}: expected answers to {expected} items, got {items}; run it again, "
                "it goes on from the log"
            )


def decoding_of(task: StoreTask) -> dict[str, JsonValue]:
    """How the task asks for words to be generated, as plain JSON values."""
    settings: dict[str, JsonValue] = json.loads(json.dumps(task.config.generation_kwargs or {}, default=str))
    return settings


def described_by_arguments(cli_args: Any) -> tuple[str, dict[str, JsonValue]]:
    """Name and settings of a model that does not describe itself, from the command line; no secret among them."""
    given = str(getattr(cli_args, "model_args", "") or "")
    pairs = dict(part.split("=", 1) for part in given.split(",") if "=" in part)
    public = {name: value for name, value in pairs.items() if not SECRET_NAME.search(name)}
    settings: dict[str, JsonValue] = {"model_args": dict(sorted(public.items()))}
    for option in _CHANGES_ANSWERS:
        value = getattr(cli_args, option, None)
        if value:
            settings[option] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return next((public[key] for key in _NAMES_THE_MODEL if key in public), ""), settings
