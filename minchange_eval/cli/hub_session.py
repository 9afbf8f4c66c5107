"""What every verb that speaks with the Hub does around it: lines on stderr, and no token in any of them."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from minchange_eval.core.errors import ExitCode, MinchangeError

if TYPE_CHECKING:
    from minchange_eval.hub.client import Hub


@contextmanager
def hub_session(*, must_write: bool = False) -> Iterator[Hub]:
    """The Hub, as the user of HF_TOKEN or `hf auth login`; the token is blanked out of all that is printed within.

    Args:
        must_write: there is to be a token, and the network.

    Raises:
        UsageError: as in `connect`.
        SystemExit: a defect, whose traceback is printed here, where the token is blanked out of it.
    """
    from minchange_eval.cli.secrets_hidden import secrets_hidden
    from minchange_eval.hub.client import connect

    hub = connect(_tell, must_write=must_write)
    with secrets_hidden([f"hf_token={hub.token}"] if hub.token else []):
        if not sys.stderr.isatty():
            from huggingface_hub.utils.tqdm import disable_progress_bars

            disable_progress_bars()
        try:
            yield hub
        except MinchangeError:
            raise
        except Exception:  # noqa: BLE001 - a defect of ours: its traceback is printed here, where the token is still hidden
            traceback.print_exc()
            raise SystemExit(ExitCode.INTERNAL) from None


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
