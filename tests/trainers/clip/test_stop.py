from __future__ import annotations

import os
import signal

import pytest

from minchange_eval.trainers.clip import stop as module
from minchange_eval.trainers.clip.stop import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_stops_nothing(number: signal.Signals) -> None:
    with StopRequest() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in module.SIGNALS]
    with StopRequest():
        pass
    assert [signal.getsignal(number) for number in module.SIGNALS] == before


def test_long_work_is_ended_at_once_and_only_while_it_lasts() -> None:
    with StopRequest() as stop:
        with pytest.raises(KeyboardInterrupt), stop.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), stop.at_once():
            raise AssertionError("asked before, so it never begins")
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_second_ctrl_c_ends_at_once_but_an_echo_of_the_first_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        monkeypatch.setattr(module, "AGAIN_AFTER_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
