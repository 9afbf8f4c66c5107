"""Texts that would run, break out or turn the page round where one is written without escaping."""

from __future__ import annotations

from itertools import count

from minchange_eval.core.record import ModelDescription, RunRecord, make_record
from tests.reports.made_records import questions as asked
from tests.reports.made_records import task
from tests.reports.pictured_runs import by_scores, in_words, questions, run, sets, statements, stored

INJECTIONS = (
    "<script>hacked=1</script>",
    '"><img src=x onerror=hacked=1>',
    "javascript:hacked=1",
    "</script><script>hacked=1</script>",
    "</style><style>body{display:none}",
    "<!-- ",
    "--><svg onload=hacked=1>",
    "]]>",
    "{{7*7}}{% raise %}",
    "${hacked=1}`;hacked=1//",
    "' onmouseover='hacked=1",
    "</title></textarea></template>",
    "<base href=//evil.example>",
    "&lt;b&gt;&#x3c;",
    "\u202eturned",
    "nul\0here",
)


class _InTurn:
    """Puts one of the corpus behind each text, the next one each time."""

    def __init__(self) -> None:
        self._number = count()

    def __call__(self, text: str) -> str:
        return f"{text} {INJECTIONS[next(self._number) % len(INJECTIONS)]}"


def hostile_runs() -> list[RunRecord]:
    """Runs whose every text is hostile: ids, subsets, captions, options, replies, reasons, slices, models, tasks."""
    words = _InTurn()
    return [*_on_hostile_items(words), *(_of_a_hostile_task(sample) for sample in INJECTIONS)]


def _on_hostile_items(words: _InTurn) -> list[RunRecord]:
    shapes = stored("shapes", sets(16, words=words))
    spots = stored("spots", questions(16, words))
    claims = stored("claims", statements(16, words))
    return [
        run(
            f"m {sample}",
            (shapes, "sets", by_scores(0.5, number)),
            (spots, "questions", in_words(0.5, number, words)),
            (claims, "statements", in_words(0.5, number, words)),
            slices=[f"relation: {sample}"],
        )
        for number, sample in enumerate(INJECTIONS)
    ]


def _of_a_hostile_task(sample: str) -> RunRecord:
    """What a task and a model say of themselves, for data that no store can hold."""
    lines = asked([True, False] * 3, parts=[f"part {sample}", "other"])
    said = {name: f"{name} {sample}" for name in ("dataset", "variant", "fingerprint", "prompt_source")}
    model = ModelDescription(
        adapter=f"a {sample}", name=f"n {sample}", settings={"dtype": sample, f"k {sample}": sample}
    )
    quiz = task(f"task {sample}", lines, **said)
    return make_record([quiz], {quiz.name: lines}, model, groups={f"group {sample}": (quiz.name,)})
