"""Chat models, ours against lmms-eval's class and against ourselves without sharing: `python -m benchmarks.chat`.

Everything in one process and in turns, on one checkpoint with random weights: what a forward costs does not depend on
what it has learned. Times are of `generate_until` with the model loaded and nothing logged.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minchange_eval.core.items import CandidateSet, ChoiceQuestion
from minchange_eval.core.prompts import Prompt, render
from minchange_eval.core.queries import Query, queries_of_set, query_of_question

NAMES = ("letters", "options", "vismin", "cyclic", "batch")


def main() -> None:
    """Measure in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all unless named")
    parser.add_argument("--pairs", type=int, default=64, help="questions, each about two pictures")
    parser.add_argument("--edge-px", type=int, default=448, help="of each picture, 28 px a token: 256 tokens with 448")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="fp32")
    args = parser.parse_args()
    if unknown := sorted(set(args.names) - set(NAMES)):
        parser.error(f"no measurement is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args, _checkpoint(Path(scratch)))
        for name in args.names or NAMES:
            getattr(bench, name)()


def _checkpoint(folder: Path) -> Path:
    """Qwen2.5-VL of 56 million parameters, 11 of them for images."""
    from tests.model_adapters.chat_checkpoints import write_checkpoint

    size = {"width": 640, "layers": 12, "vision_width": 320, "vision_layers": 8}
    return write_checkpoint("qwen2_5_vl", folder / "checkpoint", **size)


class Bench:
    """The measurements; each is a method that prints a line or two."""

    def __init__(self, args: argparse.Namespace, checkpoint: Path) -> None:
        self.args, self.checkpoint = args, checkpoint
        self._pixels = dict.fromkeys(("min_pixels", "max_pixels"), args.edge_px**2)

    def letters(self) -> None:
        """One forward for the letters against lmms-eval's own class that generates eight tokens."""
        requests = _requests(self._questions(), "med", max_new_tokens=8)
        ours, theirs = self._ours(scoring="letters", dtype="bf16"), self._theirs()  # theirs loads nothing else
        self._compare("letters / lmms-eval's qwen2_5_vl, 8 tokens", ours, theirs, requests, requests)

    def options(self) -> None:
        """Four options from one prefix against four forwards."""
        requests = _requests(self._questions(), "med")
        first = {"scoring": "options", "image_position": "first"}
        self._compare("separate / shared, four options", self._apart(**first), self._ours(**first), requests, requests)

    def vismin(self) -> None:
        """VisMin's four questions from shared beginnings against four forwards."""
        requests = _requests(self._sets(), "vismin")
        apart, ours = self._apart(scoring="letters"), self._ours(scoring="letters")
        self._compare("separate / shared, VisMin's four questions", apart, ours, requests, requests)

    def cyclic(self) -> None:
        """Four cyclic orders of a question against one, images first."""
        queries = self._questions()
        orders = [rotated for query in queries for rotated in _orders(query)]
        first = {"scoring": "letters", "image_position": "first"}
        four, one = _requests(orders, "med"), _requests(queries, "med")
        self._compare("four orders / one", self._ours(**first), self._ours(**first), four, one)

    def batch(self) -> None:
        """Batches of eight against one by one."""
        requests = _requests(self._questions(), "med")
        one, eight = self._ours(scoring="letters", batch_size=1), self._ours(scoring="letters", batch_size=8)
        self._compare("one by one / batches of 8", one, eight, requests, requests)

    def _questions(self) -> list[Query]:
        from minchange_eval.generators.procedural.suite import draw_med

        drawn = draw_med(1, -(-self.args.pairs // 11), self.args.edge_px)
        return [query_of_question(item) for item in drawn if isinstance(item, ChoiceQuestion)][: self.args.pairs]

    def _sets(self) -> list[Query]:
        from minchange_eval.generators.procedural.suite import draw_vismin

        drawn = draw_vismin(1, -(-self.args.pairs // 4), self.args.edge_px)
        sets = [item for item in drawn if isinstance(item, CandidateSet)][: self.args.pairs]
        return [query for item in sets for query in queries_of_set(item)]

    def _ours(self, **given: Any) -> Callable[[Sequence[Any]], dict[str, float]]:
        from lmms_eval.models import get_model

        def run(requests: Sequence[Any]) -> dict[str, float]:
            where = {"device": self.args.device, "dtype": self.args.dtype, "log": False, **self._pixels}
            model = get_model("hf_multi_image")(pretrained=str(self.checkpoint), **{**where, **given})
            model.probe().check()  # once a run, whatever its size; here it also warms the model up
            model._probed = True
            spent = _timed(model, requests)
            return {**spent, **{name: value for name, value in model.work.items() if name != "seconds"}}

        return run

    def _apart(self, **given: Any) -> Callable[[Sequence[Any]], dict[str, float]]:
        return self._ours(**given, prefix=False, feature_cache_mb=0)

    def _theirs(self) -> Callable[[Sequence[Any]], dict[str, float]]:
        def run(requests: Sequence[Any]) -> dict[str, float]:
            from lmms_eval.models import get_model

            where = self.args.device
            model = get_model("qwen2_5_vl")(
                pretrained=str(self.checkpoint), device=where, device_map=where, batch_size=1, **self._pixels
            )
            model.task_dict = {request.task_name: {"test": defaultdict(lambda: None)} for request in requests}
            return _timed(model, requests)

        return run

    def _compare(
        self,
        what: str,
        above: Callable[[Sequence[Any]], dict[str, float]],
        below: Callable[[Sequence[Any]], dict[str, float]],
        asked_above: Sequence[Any],
        asked_below: Sequence[Any],
    ) -> None:
        ratios: dict[str, list[float]] = {"seconds": [], "cpu_s": []}
        for _ in range(self.args.rounds):
            one, other = above(asked_above), below(asked_below)
            print(f"  {one}\n  {other}", flush=True)
            for clock, found in ratios.items():
                found.append(one[clock] / other[clock])
        shown = ", ".join(
            f"{clock} {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
            for clock, found in ratios.items()
        )
        print(f"{what}: {shown}, {self.args.pairs} pairs, {self.args.rounds} rounds", flush=True)


def _orders(query: Query) -> list[Query]:
    k = query.candidates
    turns = [[(place + turn) % k for place in range(k)] for turn in range(k)]
    return [
        replace(
            query,
            query_id=f"{query.query_id}@cyclic{turn}",
            form=f"cyclic{turn}",
            order=tuple(order),
            texts=tuple(query.texts[place] for place in order),
            answers=tuple(order.index(answer) for answer in query.answers),
        )
        for turn, order in enumerate(turns)
    ]


def _requests(queries: Sequence[Query], wording: str, max_new_tokens: int = 1) -> list[Any]:
    """The queries as lmms-eval hands them over; those of one item are one document."""
    from lmms_eval.api.instance import Instance

    from minchange_eval.tasks.prompts import prompt

    words = prompt(wording)
    documents = {item: number for number, item in enumerate(dict.fromkeys(query.item_id for query in queries))}
    settings = {"max_new_tokens": max_new_tokens, "do_sample": False, "until": []}
    requests = []
    for query in queries:
        number = documents[query.item_id]
        metadata = {"task": wording, "doc_id": number, "repeats": 1, "query": query, "prompt": words}
        arguments = ("", _messages(query, words), settings, number, wording, "test")
        requests.append(Instance(request_type="generate_until", arguments=arguments, idx=0, metadata=metadata))
    return requests


def _messages(query: Query, words: Prompt) -> Callable[[Any], list[dict[str, Any]]]:
    from minchange_eval.core.images import open_image

    def doc_to_messages(_doc: Any) -> list[dict[str, Any]]:
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "url": open_image(part)}
            for part in render(query, words)
        ]
        return [{"role": "user", "content": content}]

    return doc_to_messages


def _timed(model: Any, requests: Sequence[Any]) -> dict[str, float]:
    """Seconds of the whole call, and those of them inside the model's own modules."""
    with _Inside() as inside:
        wall, cpu = time.monotonic(), time.process_time()
        model.generate_until(list(requests))
        spent = {"seconds": time.monotonic() - wall, "cpu_s": time.process_time() - cpu}
    return {**spent, "inside_model_s": inside.seconds}


class _Inside:
    """Wall seconds spent in the outermost calls of torch modules."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth, self._entered = 0, 0.0

    def __enter__(self) -> _Inside:
        from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

        self._hooks = [register_module_forward_pre_hook(self._enter), register_module_forward_hook(self._leave)]
        return self

    def __exit__(self, *exception: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, *_: Any) -> None:
        if self._depth == 0:
            self._entered = time.monotonic()
        self._depth += 1

    def _leave(self, *_: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.monotonic() - self._entered


if __name__ == "__main__":
    main()
