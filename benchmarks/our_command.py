"""Our `lmms_eval` command in this process, with a clock around its evaluation: model loaded -> record written."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.process import Clock, resident_mb


def run(home: str, model_folder: str, batch_size: int) -> dict[str, Any]:
    """`lmms_eval --model open_clip --tasks spec`, everything else as by default; seconds, counts and memory."""
    from minchange_eval.cli import evaluate

    os.environ |= {"MINCHANGE_HOME": home, "HF_HUB_OFFLINE": "1"}
    sys.argv = ["lmms_eval", "--model", "open_clip", "--model_args", f"model_name={model_folder}"]
    sys.argv += ["--tasks", "spec", "--batch_size", str(batch_size)]
    import_module("nltk.translate.meteor_score")  # lmms-eval imports it while it evaluates, and imports are aside

    clock = _clock_around_the_evaluation()
    try:
        evaluate.main()
    except SystemExit as leaving:
        if leaving.code:
            raise
    # the newest record, of which the first line says what was done; reading all of it would count as memory of the run
    with max((Path(home) / "runs").iterdir()).open() as record:
        work = json.loads(next(record))["run"]["work"]
    counts = ("images_encoded", "texts_encoded", "images_from_log", "texts_from_log")
    return {
        **clock["spent"],
        "loaded_rss_mb": clock["loaded_rss_mb"],
        "encoding_s": work["seconds"],
        **{name.removesuffix("_encoded"): int(work[name]) for name in counts},
    }


def _clock_around_the_evaluation() -> dict[str, Any]:
    from minchange_eval.tasks.run_recorder import RunRecorder

    clock: dict[str, Any] = {}
    evaluating, saving = RunRecorder.evaluate, RunRecorder.save

    def timed_evaluate(self: RunRecorder, *args: Any, **kwargs: Any) -> Any:
        clock.update(clock=Clock(), loaded_rss_mb=resident_mb())
        return evaluating(self, *args, **kwargs)

    def timed_save(self: RunRecorder, folder: Path | None) -> None:
        saving(self, folder)
        clock["spent"] = clock["clock"].spent()

    RunRecorder.evaluate, RunRecorder.save = timed_evaluate, timed_save  # type: ignore[method-assign]
    return clock
