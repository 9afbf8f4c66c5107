"""A process that has imported everything and forks a fresh `minchange-eval` for each line it reads.

Real processes with real exit codes, which can be killed, without a second of imports for each. It is started with the
address of the local Hub, which the Hub's library reads once.
"""

from __future__ import annotations

import json
import os
import resource
import sys


def serve() -> None:
    """Read `{"argv": [...], "env": {...}, "out": path, "err": path}` a line; answer the pid, then the exit code."""
    import huggingface_hub.hf_api
    import huggingface_hub.utils.tqdm  # noqa: F401
    import pandas as pd  # noqa: F401 - pyarrow does, at its first array
    import pyarrow.parquet  # noqa: F401
    import yaml  # noqa: F401

    from minchange_eval.cli import compare, gate, hub_runs, prepare, pull, push, report  # noqa: F401
    from minchange_eval.data import arrow_files  # noqa: F401
    from minchange_eval.data import prepare as _prepare  # noqa: F401
    from minchange_eval.generators import contact_sheet  # noqa: F401
    from minchange_eval.hub import checkpoint_card, dataset, fetch, records, upload  # noqa: F401
    from minchange_eval.reports import gate as _gate  # noqa: F401
    from minchange_eval.reports import leaderboard, model_index, run_results  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(request)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: dict) -> None:
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        with open(request[name], "wb") as file:  # noqa: PTH123
            os.dup2(file.fileno(), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    _read_environment_again(request["env"])
    if "LARGEST_FILE" in request["env"]:  # stands for a full disk
        size = int(request["env"]["LARGEST_FILE"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    code = 99
    try:
        from minchange_eval.cli.main import main

        code = int(main(request["argv"]))
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else 2
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _read_environment_again(env: dict) -> None:
    """What the Hub's library reads once, when it is imported."""
    from huggingface_hub import constants
    from huggingface_hub.utils import logging

    constants.HF_HUB_CACHE = env["HF_HUB_CACHE"]
    constants.HF_TOKEN_PATH = env["HF_HOME"] + "/token"
    constants.HF_HUB_OFFLINE = env["HF_HUB_OFFLINE"] == "1"
    constants.ENDPOINT = env["HF_ENDPOINT"]
    if env.get("HF_DEBUG") == "1":
        constants.HF_DEBUG = True
        logging.set_verbosity_debug()


if __name__ == "__main__":
    serve()
