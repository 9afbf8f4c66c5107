"""The folder that a training writes into: whose it is, and whether one goes on in it."""

from __future__ import annotations

from pathlib import Path

from minchange_eval.core.errors import UsageError
from minchange_eval.trainers.clip.config import TrainConfig, flag_of
from minchange_eval.trainers.clip.run_log import EVENTS, LOSSES, TENSORBOARD
from minchange_eval.trainers.clip.state import Facts, StateFolder, read_facts
from minchange_eval.trainers.clip.training_record import FILE, is_finished

RECORDS = "records"
# while it trains; weights and what belongs to them stay until new ones take their place
_WRITTEN = (
    LOSSES,
    FILE,
    f"{TENSORBOARD}/{EVENTS}*",
    *(f"{RECORDS}/{label}.jsonl" for label in ("before", "step_*", "after")),
)


def claim(config: TrainConfig, *, force: bool) -> tuple[StateFolder, Facts | None]:
    """Take the output folder for this training.

    Args:
        force: start anew, whatever the folder holds; of it only what a training wrote is taken away.

    Returns:
        The folder of its states, locked; and what the last one says, where there is one to go on from.

    Raises:
        UsageError: it is finished, in use, of another configuration, somebody else's, or cannot be written.
        DataError: its state is broken.
    """
    output = Path(config.output)
    _check_place(config, output, force=force)
    states = StateFolder(output)
    states.lock()
    try:
        _check_place(config, output, force=force)  # again: another training may have ended in it just now
        return states, _found(config, output, states, force=force)
    except BaseException:
        states.unlock()
        raise


def _found(config: TrainConfig, output: Path, states: StateFolder, *, force: bool) -> Facts | None:
    """What there is to go on from."""
    if force:
        states.clear()
        for pattern in _WRITTEN:
            for path in output.glob(pattern):
                path.unlink()
    state = states.newest()
    if state is None:
        return None
    facts = read_facts(state)
    changed = config.changed_keys(facts.config)
    if changed:
        now = config.model_dump(mode="json")
        told = ", ".join(f"{name} (then {facts.config.get(name)}, now {now.get(name)})" for name in changed)
        raise UsageError(
            f"{output}: holds an unfinished training, {facts.step} steps of it, with another {told}; run it as it was, "
            f"name another {flag_of('output')}, or start anew with --force"
        )
    return facts


def _check_place(config: TrainConfig, output: Path, *, force: bool) -> None:
    if output.exists() and not output.is_dir():
        raise UsageError(f"output {output}: is a file; name a folder")
    if output.exists() and Path(config.model).is_dir() and output.samefile(config.model):
        raise UsageError(f"output {output}: is the model's own folder, which would be overwritten; name another one")
    if force:
        return
    if is_finished(output):
        raise UsageError(f"output {output}: holds a finished training; name another folder, or replace it with --force")
    states = StateFolder(output)
    if output.is_dir() and not states.folder.exists() and any(output.iterdir()):
        raise UsageError(f"output {output}: is not empty and holds no training; name a new folder, or use --force")
