"""A process that has imported everything and forks a fresh `lmms_eval` for each line it reads.

Real processes with real exit codes, which can be killed, without ten seconds of imports for each.
"""

from __future__ import annotations

import copy
import json
import os
import sys


def serve() -> None:
    """Read `{"argv": [...], "env": {...}, "out": path}` a line; answer the pid, then the exit code."""
    import lmms_eval.__main__
    import lmms_eval.evaluator  # noqa: F401
    import open_clip  # noqa: F401
    import transformers.generation.utils
    import transformers.models.auto.modeling_auto  # noqa: F401

    from minchange_eval.model_adapters import hf_multi_image  # noqa: F401
    from minchange_eval.tasks import hook, run_recorder  # noqa: F401
    from minchange_eval.trainers.clip import loop  # noqa: F401

    hook.install()
    _read_its_own_tasks_once()
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(request)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _read_its_own_tasks_once() -> None:
    """lmms-eval reads some thousand files of its own tasks in every process, which takes longer than most runs."""
    from lmms_eval import tasks

    manager, own = tasks.TaskManager, os.path.dirname(tasks.__file__) + "/"  # noqa: PTH120 - as lmms-eval names it
    read = manager._get_task_and_group
    known = read(manager(include_defaults=False), own)

    def from_memory(self: tasks.TaskManager, task_dir: str) -> dict:
        return copy.deepcopy(known) if task_dir == own else read(self, task_dir)

    manager._get_task_and_group = from_memory


def _become(request: dict) -> None:
    os.setsid()  # a kill reaches its data loaders too
    with open(request["out"], "wb") as out:  # noqa: PTH123
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["env"])
    sys.argv = ["lmms_eval", *request["argv"]]
    code: int | str | None = 99
    try:
        if before := request.get("before"):
            exec(before, {})  # noqa: S102 - what a test wants to go wrong in that process
        from minchange_eval.cli.evaluate import main

        main()
        code = 0
    except SystemExit as leave:
        code = leave.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    serve()
