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
from typing import Any

from minchange_eval.core.errors import ExitCode, MinchangeError, UsageError

_NEEDED = ("lmms_eval", "torch", "datasets", "accelerate")


def main() -> None:
    """The console script; ends the process with one of `ExitCode`."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        _stop(
            UsageError(f"lmms_eval: {', '.join(missing)} not installed; run: pip install 'minchange-eval[eval]'"),
        )
    try:
        _run()
    except MinchangeError as error:
        _stop(error)
    except KeyboardInterrupt:
        _say("lmms_eval: interrupted; what was finished is logged, the same command goes on from there")
        _leave(ExitCode.INTERRUPTED)
    except Exception:  # noqa: BLE001 - the last line of defence: whatever it is, it must not end with 0
        traceback.print_exc()
        _leave(ExitCode.INTERNAL)


def _run() -> None:
    from minchange_eval.tasks import hook

    hook.install()
    from lmms_eval.cli import dispatch

    if _evaluates(sys.argv[1:]):
        import lmms_eval.__main__ as upstream
        from lmms_eval import evaluator

        with _Guard(upstream, evaluator) as guard:
            try:
                dispatch.main()
            except ValueError as error:  # lmms-eval's way of refusing its own flags and configuration
                if guard.started:
                    raise
                raise UsageError(f"lmms_eval: {error}") from error
        code = _report()
    else:
        dispatch.main()
        code = ExitCode.OK
    _leave(code)


def _evaluates(argv: list[str]) -> bool:
    """Whether these arguments start an evaluation, and not a listing, a server or a page of help."""
    words = argv[1:] if argv[:1] == ["eval"] else argv
    return bool(words) and words[0].startswith("-") and not {"-h", "--help", "--tui"} & set(words)


class _Guard:
    """Stands around one evaluation of lmms-eval, which turns every failure into exit code 0.

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
        try:
            _check_names(args)
            return self._single(args)
        except MinchangeError as error:
            _stop(error)
        except ValueError as error:
            if self.started:
                traceback.print_exc()
                _leave(ExitCode.INTERNAL)
            _stop(UsageError(f"lmms_eval: {' '.join(str(error).split())}"))
        except KeyboardInterrupt:
            raise
        except Exception:  # noqa: BLE001 - lmms-eval would print it and end with 0
            traceback.print_exc()
            _leave(ExitCode.INTERNAL)

    def simple(self, *args: Any, **kwargs: Any) -> Any:
        """`simple_evaluate`, noting that flags and names were accepted."""
        self.started = True
        return self._simple(*args, **kwargs)


def _check_names(args: Any) -> None:
    """Refuse what lmms-eval answers with a hundred lines or with silence."""
    from lmms_eval.models import MODEL_REGISTRY_V2

    known = MODEL_REGISTRY_V2.list_model_names()
    if args.model not in known:
        near = difflib.get_close_matches(str(args.model), known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`lmms_eval models` lists them"
        raise UsageError(f"lmms_eval: no model is called {args.model}; {hint}")
    if not args.tasks:
        raise UsageError("lmms_eval: no task given; add --tasks NAME[,NAME], `lmms_eval --tasks list` lists them")


def _report() -> ExitCode:
    from minchange_eval.cli.score_table import print_record
    from minchange_eval.tasks import hook

    recorder = hook.recorder()
    if recorder.record is None or recorder.path is None:
        return ExitCode.OK  # another rank writes it, or no task of ours was asked
    print_record(recorder.record)
    print(recorder.path)
    return recorder.exit_code()


def _stop(error: MinchangeError) -> None:
    _say(str(error))
    _leave(error.exit_code)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _leave(code: ExitCode) -> None:
    sys.stdout.flush()
    if code is not ExitCode.OK and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        os._exit(code)  # the other ranks hang in a collective; an orderly exit would wait for them
    sys.exit(code)


if __name__ == "__main__":
    main()
