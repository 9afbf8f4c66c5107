"""One run in a process of its own, to be killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from checkpoints import queries, requests_of  # beside this file; a process that pytest did not start has no `tests`

from minchange_eval.model_adapters.open_clip_models import OpenClip


def run(folder: str, home: str, output: str) -> None:
    """Score 240 queries with a model that takes as long as a larger one, and write the answers down at the end."""
    os.environ["MINCHANGE_HOME"] = home
    try:
        model = OpenClip(model_name=folder, device="cpu", batch_size=4, num_workers=1)
        model.encoder.model.visual.register_forward_pre_hook(lambda *_: time.sleep(0.04))
        Path(output).with_suffix(".started").touch()
        answers = model.generate_until(requests_of(queries(40, k=3)))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    Path(output).write_text("\n".join(answers))
