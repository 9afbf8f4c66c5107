"""`minchange-eval train clip`: fine-tune a CLIP or SigLIP on candidate sets and plain pairs."""

from __future__ import annotations

import argparse
import os
import sys
import time
import types
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_origin

from minchange_eval.cli.progress import shown
from minchange_eval.core.errors import ExitCode, MinchangeError, UsageError

if TYPE_CHECKING:
    from minchange_eval.core.record import RunRecord
    from minchange_eval.trainers.clip.config import TrainConfig
    from minchange_eval.trainers.clip.evaluations import Evaluator
    from minchange_eval.trainers.clip.loop import FinishedTraining
    from minchange_eval.trainers.clip.run_log import StepReport

EXAMPLES = """examples:
  minchange-eval train clip --config examples/train/mini.yaml            minutes on one core, no network
  minchange-eval train clip --config examples/train/mini.yaml --steps 200 --output runs/longer
  minchange-eval train clip --model ViT-B-32 --pretrained openai --force-quick-gelu --sets spec_mini_train \\
    --sets-per-batch 64 --objective full_sets --steps 500 --learning-rate 1e-6 --output runs/b32
  accelerate launch --num_processes 8 -m minchange_eval.cli.main train clip --config FILE
  torchrun --nproc-per-node 8 -m minchange_eval.cli.main train clip --config FILE --precision bf16

Stopped by Ctrl-C, SIGTERM or a kill, the same command goes on where it was and ends in the same weights.
exit codes: 0 trained, 2 usage, 5 bad data, 70 the loss is no number, memory or disk is full, 130 stopped (resumable)
How-to: docs/train.md
"""
_NEEDED = ("torch", "open_clip", "transformers", "accelerate", "safetensors")
_LINE_EVERY_S = 20.0
_SHOWN = ("i2t_accuracy", "t2i_accuracy", "text_score", "image_score", "group_score", "macro", "micro", "accuracy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb; those of a trainer come after its name."""
    parser.add_argument(
        "trainer",
        nargs=argparse.PARSER,
        metavar="clip …",
        action=_ByTrainer,
        help="`clip`, and its settings: see `train clip --help`",
    )


class _ByTrainer(argparse.Action):
    """Reads the rest of the command line with the flags of the trainer that was named."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        trainer, *rest = values
        if trainer != "clip":
            raise UsageError(f"train {trainer}: there is no such trainer; run: minchange-eval train clip --help")
        for name, value in vars(_clip_parser(f"{parser.prog} clip").parse_args(rest)).items():
            setattr(namespace, name, value)


class _Parser(argparse.ArgumentParser):
    """A wrong flag is one line, with the one that was perhaps meant."""

    def error(self, message: str) -> NoReturn:
        from minchange_eval.data.settings_file import meant

        _, unknown, flags = message.partition("unrecognized arguments: ")
        if unknown:
            first = flags.split()[0].split("=")[0]
            hint = meant(first, [flag for flag in self._option_string_actions if flag.startswith("--")])
            message = f"unknown flag {first}; {hint or f'run: {self.prog} --help'}"
        raise UsageError(f"{self.prog.split(' ', 1)[1]}: {message}")


def _clip_parser(prog: str) -> argparse.ArgumentParser:
    from minchange_eval.trainers.clip.config import GROUPS, TrainConfig

    parser = _Parser(
        prog=prog,
        usage=f"{prog} [--config FILE] [--SETTING VALUE …] [--force]",
        description="Fine-tune a CLIP or SigLIP. Every setting is a key of the file and a flag; a flag wins.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", type=Path, default=None, metavar="FILE", help="YAML file of settings")
    parser.add_argument("--force", action="store_true", default=False, help="start anew in a folder that is not empty")
    for group, names in GROUPS.items():
        flags = parser.add_argument_group(group)
        for name in names:
            _add_flag(flags, name, TrainConfig.model_fields[name])
    return parser


def _add_flag(group: Any, name: str, field: Any) -> None:
    from minchange_eval.trainers.clip.config import flag_of

    flag = flag_of(name)
    description = str(field.description).replace("%", "%%")
    explained = f"{description}{_default(field)}"
    if bool in (field.annotation, *get_args(field.annotation)):
        group.add_argument(flag, dest=f"set_{name}", action=argparse.BooleanOptionalAction, help=explained)
        if "_" in name:
            group.add_argument(
                f"--{name}", dest=f"set_{name}", action=argparse.BooleanOptionalAction, help=argparse.SUPPRESS
            )
        return
    group.add_argument(flag, dest=f"set_{name}", metavar=_metavar(field), help=explained)
    if "_" in name:
        group.add_argument(f"--{name}", dest=f"set_{name}", help=argparse.SUPPRESS)


def _default(field: Any) -> str:
    if field.is_required() or field.default is None or field.default in ((), {}):
        return ""
    value = field.default
    return f" (default: {'yes' if value is True else 'no' if value is False else value})"


def _metavar(field: Any) -> str:
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    if choices:
        return "|".join(choices)
    kinds = {kind for kind in (field.annotation, *get_args(field.annotation)) if not isinstance(kind, types.NoneType)}
    if get_origin(field.annotation) in (tuple, dict):
        return "A,B" if get_origin(field.annotation) is tuple else "A=X,B=Y"
    return "N" if int in kinds else "X" if float in kinds else "NAME"


def run(args: argparse.Namespace) -> int:
    """Train, and show what it came to."""
    from minchange_eval.trainers.clip.stop import StopRequest

    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    try:
        with StopRequest() as stop, stop.at_once():  # SIGTERM is as good as Ctrl-C from the first import on
            return _run(args)
    except MinchangeError as error:
        if alone:
            raise
        _leave(error)
    except KeyboardInterrupt as error:
        if alone:
            raise
        _leave(error)
    except Exception:
        if alone:
            raise
        import traceback

        traceback.print_exc()
        _leave(None)


def _run(args: argparse.Namespace) -> int:
    from minchange_eval.trainers.clip.config import read_config

    flags = {name.removeprefix("set_"): value for name, value in vars(args).items() if name.startswith("set_")}
    config = read_config(args.config, flags)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"train: {', '.join(missing)} not installed; run: pip install 'minchange-eval[train]'")
    if config.evaluate and find_spec("lmms_eval") is None:
        raise UsageError("evaluate: lmms_eval is not installed; run: pip install 'minchange-eval[eval,train]'")
    from minchange_eval.trainers.clip.loop import Hooks, train_clip

    evaluator = _evaluator(config) if config.evaluate else None
    progress = _Progress()
    hooks = Hooks(evaluator, progress, progress.say, partial(shown, "contamination guard", "images"))
    try:
        finished = train_clip(config, hooks, force=args.force)
    finally:
        progress.leave()
    if finished is not None:
        _show(finished)
    return ExitCode.OK


def _evaluator(config: TrainConfig) -> Any:
    def build(records: Path) -> Evaluator:
        from minchange_eval.cli.training_evaluation import evaluator

        return evaluator(config.evaluate, output=records)

    return build


class _Progress:
    """One line at a terminal, written over at each step; else a line now and then."""

    def __init__(self) -> None:
        self._said_s = 0.0
        self._open = False  # whether the terminal's line is to be written over

    def __call__(self, report: StepReport) -> None:
        last = report.step == report.steps
        if sys.stderr.isatty():
            line = progress_line(report)[: get_terminal_size().columns - 1]  # a longer one could not be written over
            print(f"\r\x1b[K{line}", end="\n" if last else "", file=sys.stderr, flush=True)
            self._open = not last
        elif last or report.step == 1 or time.monotonic() - self._said_s >= _LINE_EVERY_S:
            self._said_s = time.monotonic()
            print(progress_line(report), file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """A line that stays."""
        self.leave()
        _say(line)

    def leave(self) -> None:
        """Let the line stay; what follows begins below it."""
        if self._open:
            print(file=sys.stderr, flush=True)
        self._open = False


def progress_line(report: StepReport) -> str:
    """How far it is, for how long yet, what is minimised, how fast."""
    from tqdm import tqdm

    parts = " ".join(f"{name} {value:.3f}" for name, value in report.parts.items())
    left = tqdm.format_interval(report.remaining_s)
    waited = f", waited {report.waited:.0%} for data" if report.waited >= 0.1 else ""
    return (  # what a narrow terminal cuts off comes last
        f"step {report.step}/{report.steps}  {left} left  loss {report.loss:.3f} ({parts})  "
        f"{report.images_per_s:,.0f} images/s{waited}  lr {report.learning_rate:.2e}"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(finished: FinishedTraining) -> None:
    if finished.stopped:
        print(f"stopped early: {finished.stopped}")
    if finished.before is not None and finished.after is not None:
        for line in before_and_after(finished.before, finished.after):
            print(line)
    print(finished.folder)


def before_and_after(before: RunRecord, after: RunRecord) -> list[str]:
    """The headline metrics of two records with intervals, as lines of a table."""
    from minchange_eval.core.metrics import whole
    from minchange_eval.core.text_table import table

    members = {member for names in after.groups.values() for member in names} - set(after.groups)
    rows = []
    for name in after.metrics:
        was, now = (whole(record.metrics.get(name, ())) for record in (before, after))
        for metric in _SHOWN:
            if name not in members and metric in was and metric in now:
                rows.append((name, metric, *(_value(values[metric]) for values in (was, now)), _chance(now[metric])))
    return table(("task", "metric", "before", "after", "chance"), rows)


def _value(value: Any) -> str:
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _chance(value: Any) -> str:
    return "-" if value.chance is None else f"{100 * value.chance:.1f}"


def _leave(error: MinchangeError | KeyboardInterrupt | None) -> NoReturn:
    """End one of several processes at once: an orderly end would wait for the others in a collective."""
    code = error.exit_code if isinstance(error, MinchangeError) else ExitCode.INTERNAL
    if isinstance(error, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
    if os.environ.get("RANK", "0") == "0" or not _said_elsewhere(error):
        stopped = "stopped; what was saved is kept, the same command goes on"
        what = stopped if code is ExitCode.INTERRUPTED else str(error)
        _say(f"minchange-eval: {what} (exit code {int(code)})")  # the launcher's own will be 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _said_elsewhere(error: BaseException | None) -> bool:
    from minchange_eval.trainers.clip.processes import OtherProcessError

    return isinstance(error, OtherProcessError | KeyboardInterrupt)
