from __future__ import annotations

from pathlib import Path

import pytest

from minchange_eval.core.errors import UsageError
from minchange_eval.trainers.clip.config import GROUPS, TrainConfig, read_config

ROOT = Path(__file__).parents[3]
LEAST = {
    "model": "minchange-tiny",
    "output": "out",
    "sets": "a",
    "sets_per_batch": 8,
    "steps": 100,
    "learning_rate": 1e-4,
}


def refusal(**settings: object) -> str:
    with pytest.raises(UsageError) as caught:
        read_config(None, {**LEAST, **settings})
    return str(caught.value)


def test_every_setting_is_explained_and_belongs_to_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(TrainConfig.model_fields)
    assert all(field.description for field in TrainConfig.model_fields.values())


def test_a_flag_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("model: m\noutput: out\nsets: [a, b]\nsets_per_batch: 4\nsteps: 80\nlearning_rate: 5e-4\nseed: 1\n")
    config = read_config(file, {"seed": "2", "learning_rate": "1e-6", "mix": "count=2,existence=0.5"})
    assert (config.seed, config.learning_rate, config.sets) == (2, 1e-6, ("a", "b"))
    assert config.mix == {"count": 2.0, "existence": 0.5}
    assert read_config(file, {}).learning_rate == 5e-4  # which YAML reads as a string


def test_lists_are_comma_separated_and_none_is_nothing() -> None:
    config = read_config(None, {**LEAST, "evaluate": "spec_mini, vismin_mini", "pretrained": "none"})
    assert config.evaluate == ("spec_mini", "vismin_mini")
    assert config.pretrained is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learning_rate": 0}, "--learning-rate: expected greater than 0, got '0'; with 0 no weight would change"),
        ({"learning_rate": "fast"}, "--learning-rate: expected a valid number"),
        ({"learning_rate": "nan"}, "--learning-rate: expected a finite number"),
        ({"steps": True}, "--steps: expected a number, got 'True'"),
        ({"steps": 2.5}, "--steps: expected a valid integer"),
        ({"steps": 10}, "warmup_steps: expected at most steps=10, got 50"),
        ({"epochs": 3}, "expected steps or epochs, got both"),
        ({"steps": None}, "expected steps or epochs, got neither"),
        ({"objective": "vismn"}, "did you mean vismin?"),
        ({"precision": "bf61"}, "did you mean bf16?"),
        ({"beta1": 1}, "--beta1: expected less than 1"),
        ({"mix": "count"}, "--mix: expected NAME=WEIGHT"),
        ({"mix": {"count": -1}}, "--mix: expected greater than or equal to 0"),
        ({"sets": ""}, "sets_per_batch=8: there are no sets"),
        ({"sets": "a,a"}, "sets: expected each once"),
        ({"sets": "", "sets_per_batch": 0}, "nothing to train on"),
        ({"plain": "x.csv"}, "plain are given and pairs_per_batch is 0"),
        ({"lock_image": True, "lock_text": True}, "nothing but the scale"),
        ({"zero_shot_floor": 0.5}, "needs zero_shot"),
        ({"zero_shot_floor": 50}, "--zero-shot-floor: expected less than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(settings: dict[str, object], said: str) -> None:
    line = refusal(**settings)
    assert said in line
    assert "\n" not in line


def test_a_missing_setting_is_named_with_its_flag() -> None:
    with pytest.raises(UsageError, match=r"learning_rate is missing.*--learning-rate"):
        read_config(None, {name: value for name, value in LEAST.items() if name != "learning_rate"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rat: 1", "unknown key learning_rat; did you mean learning_rate?"),
        ("seed: 1\nseed: 2", "'seed' is given twice"),
        ("just words", "expected keys such as learning_rate"),
        ("a: [", "expected YAML"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_config(file, {})
    assert str(file) in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path / "none.yaml", {})


def test_only_settings_that_decide_the_weights_count_as_changed() -> None:
    before = read_config(None, LEAST).model_dump(mode="json")
    now = read_config(None, {**LEAST, "workers": 5, "output": "moved", "seed": 3, "mix": {"count": 2}})
    assert now.changed_keys(before) == ["mix", "seed"]


PAPER_AND_CONTROL = ("spec_paper", "full_sets_control")
RECIPES = sorted((ROOT / "examples" / "train").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_valid_and_its_model_has_the_activation_of_its_weights(recipe: Path) -> None:
    from minchange_eval.model_adapters.open_clip_models import find_weights

    config = read_config(recipe, {})
    if config.adapter == "open_clip":
        source = find_weights(config.model, config.pretrained, config.force_quick_gelu)
        assert source.quick_gelu == (config.pretrained == "openai")


def test_the_papers_settings_are_in_their_recipes() -> None:
    spec, vismin = (read_config(ROOT / f"examples/train/{name}_paper.yaml", {}) for name in ("spec", "vismin"))
    assert (spec.steps, spec.learning_rate, spec.warmup_steps, spec.schedule) == (1000, 1e-6, 800, "cosine")
    assert (spec.pairs_per_batch, spec.hard_negative_weight) == (2048, 0.2)
    assert spec.sets_per_batch == round(768 / ((3 + 3 + 9 + 4 + 2 + 9) / 6))  # 768 members; of each subset's sets
    assert (vismin.epochs, vismin.learning_rate, vismin.warmup_steps, vismin.weight_decay) == (10, 5e-6, 50, 0.1)
    assert (vismin.beta1, vismin.beta2, vismin.epsilon, vismin.seed) == (0.9, 0.98, 1e-6, 42)


def test_the_control_differs_from_the_recipe_that_it_controls_in_the_objective_only() -> None:
    spec, control = (
        read_config(ROOT / f"examples/train/{name}.yaml", {}) for name in ("spec_paper", "full_sets_control")
    )
    assert control.changed_keys(spec.model_dump(mode="json")) == ["objective"]
