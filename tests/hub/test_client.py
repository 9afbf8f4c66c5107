"""What goes wrong between a user and the Hub is told in one line, with the exit code that docs/hub.md promises."""

from __future__ import annotations

import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from minchange_eval.cli.hub_session import hub_session
from minchange_eval.hub.address import HubAddress
from minchange_eval.hub.client import Hub, _retry_after_s
from tests.hub.client_process import Person
from tests.hub.conftest import TOKEN
from tests.hub.made_checkpoint import write_checkpoint
from tests.hub.server import LocalHub, User


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "clip-spec", records=False)


def test_without_a_token_nothing_is_tried(ada: Person, hub: LocalHub, folder: Path) -> None:
    done = replace(ada, token=None).run("push", "checkpoint", folder, "--to", "ada/clip")
    assert done.code == 2
    assert done.line.startswith("no token for the Hub; make one with the right to write at https://huggingface.co")
    assert not hub.seen


def test_a_token_that_the_hub_does_not_know(ada: Person, folder: Path) -> None:
    done = replace(ada, token=TOKEN[::-1]).run("push", "checkpoint", folder, "--to", "ada/clip")
    assert done.code == 2
    assert "the Hub does not know the token (Invalid credentials in Authorization header)" in done.line


def test_a_token_that_was_copied_with_something_around_it(ada: Person, hub: LocalHub, folder: Path) -> None:
    token = f"{TOKEN} tökén"
    done = replace(ada, token=token).run("push", "checkpoint", folder, "--to", "ada/clip")
    assert done.code == 2
    assert "blanks or characters that no token has" in done.line
    assert token not in done.out + done.err
    assert not hub.seen


def test_a_token_that_may_only_read(ada: Person, hub: LocalHub, folder: Path) -> None:
    hub.users[TOKEN] = User("ada", write=False)
    done = ada.run("push", "checkpoint", folder, "--to", "ada/clip")
    assert done.code == 2
    assert "the token has not the right to do that" in done.line


@pytest.mark.parametrize("there", [True, False], ids=["it exists", "it does not exist"])
def test_a_name_of_somebody_else(there: bool, ada: Person, hub: LocalHub, folder: Path) -> None:
    if there:
        hub.make("model", "bob/clip", {})
    done = ada.run("push", "checkpoint", folder, "--to", "bob/clip", "--public")
    assert done.code == 2
    assert "the token has not the right to do that" in done.line
    assert "a name of your own" in done.line
    assert not there or not hub.repository("model", "bob/clip").files


def test_an_organization_of_ones_own_is_fine(ada: Person, hub: LocalHub, folder: Path) -> None:
    assert ada.run("push", "checkpoint", folder, "--to", "lab/clip").code == 0
    assert hub.repository("model", "lab/clip").private


def test_a_repository_that_all_can_see_is_not_pushed_to_by_accident(ada: Person, hub: LocalHub, folder: Path) -> None:
    hub.make("model", "ada/clip", {})
    done = ada.run("push", "checkpoint", folder, "--to", "ada/clip")
    assert done.code == 2
    assert "is public, and what is pushed would be too; say --public" in done.line
    assert ada.run("push", "checkpoint", folder, "--to", "ada/clip", "--public").code == 0


def test_what_others_put_there_is_not_replaced(ada: Person, hub: LocalHub, folder: Path) -> None:
    hub.make("model", "ada/clip", {"pytorch_model.bin": b"old", "config.json": b"{}"}, private=True)
    done = ada.run("push", "checkpoint", folder, "--to", "ada/clip")
    assert done.code == 2
    assert "pytorch_model.bin (would be deleted), config.json (changed there)" in done.line


@pytest.mark.parametrize(
    ("request_line", "status", "text"),
    [
        ("objects/batch", 403, "Private repository storage limit reached, please upgrade your plan."),
        ("^PUT", 413, "Payload too large"),
        ("^POST /api/repos/create", 402, "Payment required"),
    ],
)
def test_no_room_on_the_hub(
    request_line: str, status: int, text: str, ada: Person, hub: LocalHub, folder: Path
) -> None:
    hub.fault(request_line, status=status, body={"error": text}, times=9)
    done = ada.run("push", "checkpoint", folder, "--to", "ada/clip")
    assert done.code == 70
    assert done.line.startswith("hub:ada/clip: no room for it on the Hub (")
    assert "\n" not in done.line


def test_a_hub_that_is_not_there_is_told_at_once(ada: Person, folder: Path) -> None:
    done = ada.run("push", "checkpoint", folder, "--to", "ada/clip", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.code == 70
    assert "no connection to the Hub" in done.line
    assert "waiting" not in done.err


def test_offline_nothing_is_pushed_or_pulled(ada: Person, hub: LocalHub, folder: Path) -> None:
    pushed = ada.run("push", "checkpoint", folder, "--to", "ada/clip", HF_HUB_OFFLINE="1")
    pulled = ada.run("pull", "checkpoint", "ada/clip", "--out", folder.parent / "new", HF_HUB_OFFLINE="1")
    assert (pushed.code, pulled.code) == (2, 2)
    assert "HF_HUB_OFFLINE is set" in pushed.line
    assert "HF_HUB_OFFLINE is set" in pulled.line
    assert not hub.seen


def test_the_token_is_in_no_output_and_no_file_whatever_the_hub_answers(
    ada: Person, hub: LocalHub, folder: Path, tmp_path: Path
) -> None:
    echo = {"error": f"Bearer {TOKEN} is not welcome"}
    outputs = []
    for request_line, status in (
        ("whoami", 401),
        ("create", 403),
        ("/commit/", 400),
        ("/commit/", 418),
        ("/preupload/", 422),
    ):
        hub.forget()
        hub.fault(
            request_line, status=status, body=echo, headers={"Retry-After": "0", "X-Error-Message": TOKEN}, times=9
        )
        outputs.append(ada.run("push", "checkpoint", folder, "--to", "ada/clip", HF_DEBUG="1"))
        assert outputs[-1].code in (2, 70)
    hub.forget()
    outputs.append(ada.run("push", "checkpoint", folder, "--to", "ada/clip"))
    outputs.append(ada.run("pull", "checkpoint", "ada/clip", "--out", tmp_path / "pulled"))
    assert [done.code for done in outputs[-2:]] == [0, 0]
    assert all(TOKEN not in done.out + done.err for done in outputs)
    assert any("[hidden]" in done.err for done in outputs)
    assert any("Send: curl" in done.err for done in outputs)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]
    pushed = hub.repository("model", "ada/clip").files.values()
    assert not [blob for blob in pushed if TOKEN.encode() in blob.content]


def test_a_password_in_the_hubs_address_is_refused_and_not_shown(ada: Person, hub: LocalHub, folder: Path) -> None:
    endpoint = hub.endpoint.replace("//", "//ada:s3cretword@")
    for argv in (("push", "checkpoint", folder, "--to", "ada/clip"), ("report", "hub:ada/records")):
        done = ada.run(*argv, HF_ENDPOINT=endpoint, HF_DEBUG="1")
        assert done.code == 2
        assert done.line.startswith("HF_ENDPOINT holds a user or password")
        assert "s3cret" not in done.out + done.err
    assert not hub.seen


def test_a_defect_keeps_its_traceback_and_loses_the_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    def defect() -> None:
        with hub_session():
            raise TypeError(f"no {TOKEN} expected")

    with pytest.raises(SystemExit) as ended:
        defect()
    said = capsys.readouterr().err
    assert ended.value.code == 70
    assert "in defect" in said
    assert "TypeError: no [hidden] expected" in said


def test_the_token_of_a_login_is_used_and_not_shown(ada: Person, hub: LocalHub, folder: Path) -> None:
    (ada.folder / "huggingface").mkdir()
    (ada.folder / "huggingface" / "token").write_text(TOKEN)
    done = replace(ada, token=None).run("push", "checkpoint", folder, "--to", "ada/clip")
    assert done.code == 0, done.err
    assert TOKEN not in done.out + done.err


def test_an_error_of_no_known_kind_is_named_and_loses_the_token() -> None:
    lines: list[str] = []
    hub = Hub(HfApi(), TOKEN, lines.append)

    class OddError(RuntimeError):
        def __init__(self, text: str, code: int) -> None:
            super().__init__(text)

    def fail() -> None:
        raise OddError(f"what is Bearer {TOKEN}?", 3)

    with pytest.raises(RuntimeError, match=r"^OddError: what is Bearer \[hidden\]\?$") as raised:
        hub.ask(HubAddress("ada", "clip"), fail)
    assert TOKEN not in "".join(traceback.format_exception(raised.value))


def test_retry_after_is_a_number_a_date_or_the_hubs_own_header() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert _retry_after_s("7", None) == 7
    waits = _retry_after_s(soon, None) or 0
    assert 55 < waits <= 60
    assert waits == int(waits)
    assert _retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT", None) == 0
    assert _retry_after_s(None, '"api";r=0;t=12') == 12
    assert _retry_after_s(None, '"api";r=3;t=12') is None
    assert _retry_after_s("soon", None) is None


def test_the_right_to_upload_in_an_address_is_not_printed(ada: Person, hub: LocalHub, folder: Path) -> None:
    hub.fault("^PUT", status=500, body={"error": "no"})
    done = ada.run("push", "checkpoint", folder, "--to", "ada/clip")
    assert done.code == 0
    assert "the Hub answered 500: waiting 1 s, then try 2 of 6" in done.err
    assert "5igned" not in done.out + done.err
