from __future__ import annotations

from pathlib import Path

from tests.hub.client_process import python
from tests.hub.conftest import TOKEN
from tests.hub.server import LocalHub

ROUND = """
import os, warnings
from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
api = HfApi()
assert api.whoami()["name"] == "ada"
api.create_repo("ada/clip", private=True)
card = b"---\\nlicense: mit\\n---\\ncard"
files = [CommitOperationAdd("README.md", card), CommitOperationAdd("deep/model.safetensors", b"w" * 5000)]
api.create_commit("ada/clip", files, commit_message="weights")
again = api.create_commit("ada/clip", [CommitOperationAdd("README.md", card)], commit_message="nothing new")
folder = snapshot_download("ada/clip")
assert open(folder + "/deep/model.safetensors", "rb").read() == b"w" * 5000
try:
    HfApi(token=False).model_info("ada/clip")
except RepositoryNotFoundError:
    print("hidden from strangers")
try:
    api.create_repo("bob/clip")
except HfHubHTTPError as error:
    print(error.response.status_code)
"""


def test_the_real_client_makes_commits_and_reads_them_back(hub: LocalHub, tmp_path: Path) -> None:
    printed = python(hub, ROUND, TOKEN, tmp_path)
    repository = hub.repository("model", "ada/clip")
    assert printed.splitlines() == ["hidden from strangers", "403"]
    assert repository.private
    assert [commit.title for commit in repository.commits] == ["initial commit", "weights"]
    assert repository.files["deep/model.safetensors"].lfs
    assert not repository.files["README.md"].lfs
    assert len(hub.requests("^PUT")) == 1


def test_an_upload_that_is_cut_arrives_on_the_next_try(hub: LocalHub, tmp_path: Path) -> None:
    hub.make("model", "ada/clip", {})
    hub.fault("^PUT", reset_after=1000)
    python(
        hub,
        "from huggingface_hub import HfApi\n"
        "HfApi().upload_file(path_or_fileobj=b'w' * 9000, path_in_repo='a.safetensors', repo_id='ada/clip')",
        TOKEN,
        tmp_path,
    )
    assert [seen.status for seen in hub.requests("^PUT")] == [0, 200]
    assert hub.repository("model", "ada/clip").files["a.safetensors"].size == 9000
