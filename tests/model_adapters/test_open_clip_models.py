from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from minchange_eval.core.errors import ModelError, UsageError
from minchange_eval.model_adapters.encoder import torch_dtype
from minchange_eval.model_adapters.open_clip_models import OpenClip, find_weights
from minchange_eval.model_adapters.weights import weights_sha256
from tests.model_adapters.checkpoints import EDGE_PX, OPEN_CLIP, open_clip_folder, queries, requests_of

SMALL = "tiny-random"


@pytest.fixture
def architecture(tmp_path: Path) -> str:
    """An architecture that open_clip lists, and that has a QuickGELU twin as ViT-B-32 has."""
    import open_clip.factory

    paths = open_clip.factory._MODEL_CONFIG_PATHS
    for name, quick in ((SMALL, False), (f"{SMALL}-quickgelu", True)):
        (tmp_path / f"{name}.json").write_text(json.dumps({**OPEN_CLIP, "quick_gelu": quick}))
        open_clip.add_model_config(tmp_path / f"{name}.json")
    yield SMALL
    del paths[-2:]
    open_clip.factory._MODEL_CONFIGS.clear()
    open_clip.factory._rescan_model_configs()


def test_weights_of_an_unknown_activation_need_a_decision(architecture: str, tiny: Path) -> None:
    weights = str(tiny / "model.safetensors")
    with pytest.raises(UsageError, match=r"force_quick_gelu=true .* or force_quick_gelu=false"):
        find_weights(architecture, weights, None)
    answers, activations = [], []
    for force in (True, False):
        lm = OpenClip(model_name=architecture, pretrained=weights, force_quick_gelu=force, device="cpu")
        answers.append(lm.generate_until(requests_of(queries(1))))
        activations.append(lm.description.settings["activation"])
    assert activations == ["quick_gelu", "gelu"]
    assert answers[0] != answers[1]


def test_a_file_below_the_home_folder_is_found(architecture: str, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny))
    source = find_weights(architecture, "~/model.safetensors", False)
    assert source.pretrained == str(tiny / "model.safetensors")
    assert source.shown == f"{architecture}/~/model.safetensors"


@pytest.mark.parametrize("force", [None, True, False])
def test_openai_weights_in_a_plain_architecture_need_a_decision(force: bool | None) -> None:
    if force is None:
        with pytest.raises(UsageError, match="these weights were trained with QuickGELU"):
            find_weights("ViT-B-32", "openai", force)
    else:
        assert find_weights("ViT-B-32", "openai", force).quick_gelu is force


def test_tags_whose_activation_is_known_need_no_decision() -> None:
    assert find_weights("ViT-B-32-quickgelu", "openai", None).quick_gelu
    assert not find_weights("ViT-B-32", "laion2b_s34b_b79k", None).quick_gelu
    with pytest.raises(UsageError, match="use model_name=ViT-B-32 instead"):
        find_weights("ViT-B-32-quickgelu", "openai", False)


def test_a_folder_says_its_activation_itself(tmp_path: Path) -> None:
    folder = open_clip_folder(tmp_path / "quick", quick_gelu=True)
    assert find_weights(str(folder), None, None).quick_gelu
    with pytest.raises(UsageError, match="change it there"):
        find_weights(str(folder), None, False)


def test_a_folder_that_does_not_say_its_activation_needs_a_decision_where_both_exist(
    architecture: str, tmp_path: Path
) -> None:
    folder = open_clip_folder(tmp_path / "silent")
    config = folder / "open_clip_config.json"
    unstated = {name: value for name, value in OPEN_CLIP.items() if name != "quick_gelu"}
    config.write_text(json.dumps({"model_cfg": unstated}))
    with pytest.raises(UsageError, match=rf"\({SMALL}\) .*force_quick_gelu=true .* or force_quick_gelu=false"):
        find_weights(str(folder), None, None)
    assert [find_weights(str(folder), None, force).quick_gelu for force in (True, False)] == [True, False]
    config.write_text(json.dumps({"model_cfg": {**unstated, "embed_dim": 33}}))
    assert not find_weights(str(folder), None, None).quick_gelu


Hub = Callable[[str], str]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Put a repository whose configuration does not say its activation into the Hub's cache; without network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(repository: str) -> str:
        import open_clip

        folder, commit = tmp_path / "hub" / f"models--{repository.replace('/', '--')}", "0" * 40
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
        config = {"model_cfg": open_clip.get_model_config("ViT-B-32")}
        (folder / "snapshots" / commit / "open_clip_config.json").write_text(json.dumps(config))
        return f"hf-hub:{repository}"

    return put


def test_a_repository_that_open_clip_knows_needs_no_decision_and_another_does(hub: Hub) -> None:
    assert not find_weights(hub("laion/CLIP-ViT-B-32-laion2B-s34B-b79K"), None, None).quick_gelu
    assert find_weights(hub("timm/vit_base_patch32_clip_224.openai"), None, None).quick_gelu
    fine_tuned = hub("someone/spec-clip")
    with pytest.raises(UsageError, match=r"\(ViT-B-32\) .*force_quick_gelu=true .* or force_quick_gelu=false"):
        find_weights(fine_tuned, None, None)
    assert find_weights(fine_tuned, None, True).quick_gelu


@pytest.mark.parametrize("name", ["ViT-L-14", "RN50", "RN50x64", "ViT-H-14", "ViT-L-14-336"])
def test_a_folder_of_every_shape_of_openai_needs_a_decision(tiny: Path, tmp_path: Path, name: str) -> None:
    import open_clip

    (tmp_path / "model.safetensors").symlink_to(tiny / "model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": open_clip.get_model_config(name)}))
    with pytest.raises(UsageError, match="force_quick_gelu=true"):
        find_weights(str(tmp_path), None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model_name": "ViT-B32", "pretrained": "openai"}, "Did you mean ViT-B-32"),
        ({"model_name": "ViT-B-32-quickgelu", "pretrained": "openia"}, "Did you mean openai"),
        ({"model_name": "ViT-B-32"}, "say which weights"),
        ({"modelname": "x"}, "Did you mean model_name"),
        ({"dtype": "int8"}, "dtype=int8: expected one of"),
        ({"batch_size": 0}, "batch_size=0: expected a whole number of at least 1"),
        ({"num_workers": "many"}, "num_workers=many: expected a whole number"),
        ({"log": "maybe"}, "log=maybe: expected true or false"),
        ({"device": "gpu"}, "--device gpu: expected cpu"),
        ({"model_name": "/tmp", "device": "cpu"}, "expected open_clip_config.json in this folder"),
    ],
)
def test_a_wrong_argument_is_one_line_that_helps(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        OpenClip(**given)
    assert "\n" not in str(error.value)


def test_model_args_win_over_the_command_line_and_one_is_no_default_batch_size(tiny: Path) -> None:
    def batch_size(arguments: str, outer: Any) -> int:
        outer = {"batch_size": outer, "max_batch_size": None, "device": "cpu"}
        return OpenClip.create_from_arg_string(f"model_name={tiny}{arguments}", outer).batch_size

    assert [batch_size("", 1), batch_size("", "1"), batch_size(",batch_size=3", "1"), batch_size("", "auto")] == [
        32,
        1,
        3,
        32,
    ]
    with pytest.raises(UsageError, match="expected name=value"):
        OpenClip.create_from_arg_string("tiny")


def test_a_converted_pickle_has_the_digest_of_its_tensors(architecture: str, tmp_path: Path) -> None:
    state, unsafe = _state(tmp_path), tmp_path / "weights.pt"
    torch.save({"state_dict": {f"module.{name}": values for name, values in state.items()}, "args": unsafe}, unsafe)
    with pytest.raises(UsageError, match="reading it can run any program") as error:
        find_weights(architecture, str(unsafe), False)
    command = shlex.split(str(error.value).partition("use the result: ")[2])
    subprocess.run([sys.executable, *command[1:]], check=True)
    converted = OpenClip(
        model_name=architecture,
        pretrained=str(unsafe.with_suffix(".safetensors")),
        force_quick_gelu=False,
        device="cpu",
    )
    assert converted.description.weights_sha256 == weights_sha256(state)


def test_the_digest_does_not_depend_on_the_file(architecture: str, tmp_path: Path) -> None:
    state = _state(tmp_path)
    torch.save(state, tmp_path / "weights.pt")
    (from_pt, from_folder) = (
        OpenClip(
            model_name=architecture, pretrained=str(tmp_path / "weights.pt"), force_quick_gelu=False, device="cpu"
        ),
        OpenClip(model_name=str(tmp_path / "folder"), device="cpu", dtype="bf16"),
    )
    assert from_pt.description.weights_sha256 == from_folder.description.weights_sha256 == weights_sha256(state)
    state["logit_scale"] += 1
    assert weights_sha256(state) != from_pt.description.weights_sha256


def test_weights_of_another_architecture_are_one_line(architecture: str, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        OpenClip(model_name=architecture, pretrained=str(tmp_path / "other.pt"), force_quick_gelu=False, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_scores_are_near_and_have_the_same_bits_again(tiny: Path, dtype: str) -> None:
    asked = requests_of(queries(3))
    answers = [
        OpenClip(model_name=str(tiny), device="cpu", dtype=chosen, log=False, batch_size=4).generate_until(asked)
        for chosen in ("fp32", dtype, dtype)
    ]
    assert answers[1] == answers[2]
    for exact, near in zip(answers[0], answers[1], strict=True):
        assert json.loads(near)["scores"] == pytest.approx(json.loads(exact)["scores"], abs=0.05)


VISION_TRANSFORMER = {"layers": 1, "width": 32, "head_width": 16, "image_size": EDGE_PX, "patch_size": 16}


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("vision", [OPEN_CLIP["vision_cfg"], VISION_TRANSFORMER], ids=["resnet", "transformer"])
def test_half_precision_norms_compute_in_float32_as_cuda_requires(
    tmp_path: Path, vision: dict[str, Any], dtype: str
) -> None:
    from open_clip.transformer import LayerNormFp32

    folder = open_clip_folder(tmp_path / "model", vision_cfg=vision)
    full, half = (OpenClip(model_name=str(folder), device="cpu", dtype=chosen) for chosen in ("fp32", dtype))
    norms = [layer for layer in half.encoder.model.modules() if isinstance(layer, torch.nn.LayerNorm)]
    assert norms
    assert all(isinstance(norm, LayerNormFp32) and norm.weight.dtype == torch.float32 for norm in norms)
    linear = [layer for layer in half.encoder.model.modules() if isinstance(layer, torch.nn.Linear)]
    assert {layer.weight.dtype for layer in linear} == {torch_dtype(dtype)}
    assert not half.encoder.model.training
    assert half.description.weights_sha256 == full.description.weights_sha256
    asked = requests_of(queries(1))
    for exact, near in zip(full.generate_until(asked), half.generate_until(asked), strict=True):
        assert json.loads(near)["scores"] == pytest.approx(json.loads(exact)["scores"], abs=0.05)


def test_importing_the_package_loads_nothing_heavy() -> None:
    check = (
        "import sys, minchange_eval.model_adapters as adapters; "
        "assert not {'torch', 'lmms_eval', 'transformers', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_lmms_eval_finds_encoders_as_simple_models_and_chat_models_as_chat_models() -> None:
    from lmms_eval.models.registry_v2 import ModelRegistryV2

    from minchange_eval.model_adapters import manifests

    registry = ModelRegistryV2()
    for manifest in manifests():
        registry.register_manifest(manifest)
        encodes = manifest.model_id in ("open_clip", "hf_dual_encoder")
        assert registry.get_model_class(manifest.model_id).is_simple == encodes


def _state(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(open_clip_folder(folder / "folder") / "model.safetensors")


@pytest.mark.usefixtures("hub")
def test_a_hub_name_without_network_is_one_line() -> None:
    with pytest.raises(UsageError, match="cannot be had") as error:
        find_weights("hf-hub:nobody/nothing-at-all", None, None)
    assert "\n" not in str(error.value)
