"""`lmms_eval`: lmms-eval's own command with our tasks, an honest exit code and the full table.

Everything that lmms-eval offers works as it does there. Added: the tasks and models of this package are there,
a failure of any kind is never exit code 0, and after lmms-eval's table comes ours, then the path of the record.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NoReturn

from minchange_eval.cli.secrets_hidden import secrets_hidden
from minchange_eval.cli.standard_output import guarded_output
from minchange_eval.core.errors import ExitCode, MinchangeError, UsageError

_NEEDED = ("lmms_eval", "torch", "datasets", "accelerate")


def main() -> None:
    """The console script; ends the process with one of `ExitCode`."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        _stop(UsageError(f"lmms_eval: {', '.join(missing)} not installed; run: pip install 'minchange-eval[eval]'"))
    with secrets_hidden(sys.argv[1:]):
        try:
            _leave(_run())
        except MinchangeError as error:
            _stop(error)
        except KeyboardInterrupt:
            _say("lmms_eval: interrupted; what was finished is logged, the same command goes on from there")
            _leave(ExitCode.INTERRUPTED)
        except Exception:  # noqa: BLE001 - the last line of defence: whatever it is, it must not end with 0
            traceback.print_exc()
            _leave(ExitCode.INTERNAL)


def _run() -> ExitCode:
    from minchange_eval.tasks import hook

    hook.install()
    from lmms_eval.cli import dispatch

    if not _evaluates(sys.argv[1:]):
        with guarded_output():
            dispatch.main()
        return ExitCode.OK
    import lmms_eval.__main__ as upstream
    import yaml
    from lmms_eval import evaluator

    with _Guard(upstream, evaluator) as guard, guarded_output():
        try:
            dispatch.main()
        except (ValueError, yaml.YAMLError) as error:  # lmms-eval's way of refusing its flags and configuration
            if guard.started:
                raise
            raise UsageError(f"lmms_eval: {_one_line(error)}") from error
    return _report()


def _evaluates(argv: list[str]) -> bool:
    """Whether these arguments start an evaluation, and not a listing, a server or a page of help."""
    words = argv[1:] if argv[:1] == ["eval"] else argv
    return bool(words) and words[0].startswith("-") and not {"-h", "--help", "--tui"} & set(words)


class _Guard:
    """Stands around the evaluations of lmms-eval, which turns every failure into exit code 0.

    Attributes:
        started: an evaluation has begun; before that a ValueError means that the call was wrong.
    """

    def __init__(self, upstream: ModuleType, evaluator: ModuleType) -> None:
        self.started = False
        self._upstream, self._evaluator = upstream, evaluator
        self._single, self._simple = upstream.cli_evaluate_single, evaluator.simple_evaluate

    def __enter__(self) -> _Guard:
        self._upstream.cli_evaluate_single = self.single  # type: ignore[attr-defined]
        self._evaluator.simple_evaluate = self.simple  # type: ignore[attr-defined]
        return self

    def __exit__(self, *exception: object) -> None:
        self._upstream.cli_evaluate_single = self._single  # type: ignore[attr-defined]
        self._evaluator.simple_evaluate = self._simple  # type: ignore[attr-defined]

    def single(self, args: Any) -> Any:
        """One evaluation; SystemExit passes lmms-eval's `except Exception`, also on a rank that others wait for."""
        self.started = False
        try:
            _check_names(args)
            return self._single(args)
        except MinchangeError as error:
            _stop(error)
        except KeyboardInterrupt:
            raise
        except Exception as error:  # noqa: BLE001 - lmms-eval would print it and end with 0
            no_task = isinstance(error, AssertionError) and str(error).startswith("No tasks specified")
            if no_task or (isinstance(error, ValueError) and not self.started):
                _stop(UsageError(f"lmms_eval: {_one_line(error)}"))
            traceback.print_exc()
            _leave(ExitCode.INTERNAL)

    def simple(self, *args: Any, **kwargs: Any) -> Any:
        """`simple_evaluate`, noting that flags and names were accepted."""
        self.started = True
        return self._simple(*args, **kwargs)


def _check_names(args: Any) -> None:
    """Refuse what lmms-eval answers with a hundred lines, a traceback or silence."""
    from lmms_eval.models import MODEL_REGISTRY_V2

    if not args.tasks:
        raise UsageError("lmms_eval: no task given; add --tasks NAME[,NAME], `lmms_eval --tasks list` lists them")
    if args.tasks.startswith("list"):  # a listing; the model it would be for does not matter
        return
    known = MODEL_REGISTRY_V2.list_model_names()
    if args.model not in known:
        near = difflib.get_close_matches(str(args.model), known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`lmms_eval models` lists them"
        raise UsageError(f"lmms_eval: no model is called {args.model}; {hint}")
    try:
        MODEL_REGISTRY_V2.get_model_class(args.model, args.force_simple)
    except ImportError as error:
        raise UsageError(f"lmms_eval: model {args.model} does not import ({error}); install what it needs") from error


def _report() -> ExitCode:
    from minchange_eval.cli.score_table import print_record
    from minchange_eval.tasks import hook

    finished = hook.recorder().finished  # empty on other ranks, and where no task of ours was asked
    with guarded_output():  # records are on disk, whatever becomes of what is printed
        for run in finished:
            print_record(run.record)
            print(run.path)
    return max((run.exit_code for run in finished), default=ExitCode.OK)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _stop(error: MinchangeError) -> NoReturn:
    _say(str(error))
    _leave(error.exit_code)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _leave(code: ExitCode) -> NoReturn:
    sys.stdout.flush()
    if code is not ExitCode.OK and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _say(f"lmms_eval: exit code {int(code)} ({code.name.lower()})")  # the launcher's own will be 1
        sys.stderr.flush()
        os._exit(code)  # the other ranks hang in a collective; an orderly exit would wait for them
    sys.exit(code)


if __name__ == "__main__":
    main()
