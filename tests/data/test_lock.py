from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from minchange_eval.core.errors import UsageError
from minchange_eval.data.lock import only_one


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_one_line_that_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UsageError, match="set MINCHANGE_HOME") as caught, only_one(tmp_path / "lock", "busy"):
        pass
    assert "\n" not in str(caught.value)


def test_a_free_lock_is_not_waited_for(tmp_path: Path) -> None:
    for _ in range(2):
        with only_one(tmp_path / "lock", "busy") as waited:
            assert not waited
