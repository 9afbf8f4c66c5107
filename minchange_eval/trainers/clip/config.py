"""The settings of a training: field, YAML key and flag share one name (`learning_rate`, `--learning-rate`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from minchange_eval.core.errors import UsageError
from minchange_eval.data.settings_file import meant, read_settings

__all__ = ["GROUPS", "TrainConfig", "read_config"]

_NULLS = frozenset({"", "none", "null"})


def _number(value: Any) -> Any:
    if isinstance(value, bool):  # which Python would take for 1 or 0
        raise ValueError("expected a number")
    return value


def _list(value: Any) -> Any:
    if value is None:
        return ()
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _mapping(value: Any) -> Any:
    if value is None:
        return {}
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("expected NAME=WEIGHT,NAME=WEIGHT")
    return {name.strip(): weight for name, _, weight in pairs}


def _null(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in _NULLS else value


Count = Annotated[int, Field(ge=0), BeforeValidator(_number)]
Positive = Annotated[int, Field(ge=1), BeforeValidator(_number)]
Real = Annotated[float, Field(ge=0), BeforeValidator(_number)]
PositiveReal = Annotated[float, Field(gt=0), BeforeValidator(_number)]
Momentum = Annotated[float, Field(ge=0, lt=1), BeforeValidator(_number)]
Fraction = Annotated[float, Field(ge=0, le=1), BeforeValidator(_number)]
Names = Annotated[tuple[str, ...], BeforeValidator(_list)]
Weights = Annotated[dict[str, Real], BeforeValidator(_mapping)]

# What says how the work is done and not what comes out; a training may go on with another value.
_OF_THE_MACHINE = frozenset({"output", "workers", "cache_mb", "save_every", "tensorboard"})

GROUPS: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "pretrained", "adapter", "force_quick_gelu", "lock_image", "lock_text", "freeze_batch_norm"),
    "data": ("sets", "plain", "sets_per_batch", "pairs_per_batch", "mix", "allow_overlap"),
    "objective": ("objective", "loss", "hard_negative_weight", "max_scale"),
    "optimizer": (
        "steps",
        "epochs",
        "learning_rate",
        "warmup_steps",
        "schedule",
        "weight_decay",
        "beta1",
        "beta2",
        "epsilon",
    ),
    "machine": ("precision", "accumulate", "local_loss", "seed", "threads", "workers", "cache_mb"),
    "evaluation": ("evaluate", "evaluate_every", "zero_shot", "zero_shot_floor"),
    "output": ("output", "save_every", "tensorboard"),
}
"""How --help and the documentation order the settings; every one of them is here once."""


class TrainConfig(BaseModel):
    """What a training does. Where a default comes from a paper, its description names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    model: str = Field(
        min_length=1, description="minchange-tiny, an architecture of open_clip, hf-hub:owner/name, or a folder"
    )
    pretrained: Annotated[str | None, BeforeValidator(_null)] = Field(
        None, description="weights of an open_clip architecture: a tag or a file"
    )
    adapter: Literal["open_clip", "hf_dual_encoder"] = Field(
        "open_clip", description="the library that loads the model"
    )
    force_quick_gelu: Annotated[bool | None, BeforeValidator(_null)] = Field(
        None, description="the activation, where the weights do not say it; true for OpenAI's and what came from them"
    )
    output: str = Field(min_length=1, description="folder of the checkpoint; of an unfinished training: goes on there")

    sets: Names = Field((), description="prepared data sets with candidate sets, comma-separated")
    plain: Annotated[str | None, BeforeValidator(_null)] = Field(
        None, description="plain image-caption pairs: tar shards, CSV/TSV, Parquet, a Hub data set, store:NAME"
    )
    sets_per_batch: Count = Field(0, description="candidate sets in a step, over all processes")
    pairs_per_batch: Count = Field(0, description="plain pairs in a step, over all processes")
    mix: Weights = Field(
        {}, description="share of each subset in a batch: NAME=WEIGHT, 0 for none; else as many as there are"
    )
    allow_overlap: bool = Field(
        False, description="train although training images or captions are in an evaluated benchmark; recorded"
    )

    objective: Literal["spec", "vismin", "full_sets", "one_per_set"] = Field(
        "spec", description="what is minimised; docs/train.md says how they differ"
    )
    loss: Literal["clip", "siglip"] = Field("clip", description="softmax over the batch, or a sigmoid for each pair")
    hard_negative_weight: Real = Field(
        0.2, description="lambda in L_clip + lambda * L_hn; SPEC, arXiv:2312.00081 (objective spec)"
    )
    max_scale: PositiveReal = Field(
        100.0, description="the most that cosines are multiplied by; CLIP, arXiv:2103.00020, section 2.5"
    )

    steps: Annotated[Positive | None, BeforeValidator(_null)] = Field(
        None, description="optimizer steps; or give epochs"
    )
    epochs: Annotated[Positive | None, BeforeValidator(_null)] = Field(
        None, description="how often each candidate set is seen; or give steps"
    )
    learning_rate: PositiveReal = Field(description="at the end of the warm-up")
    warmup_steps: Count = Field(50, description="linear from zero; VisMin-CLIP's script (SPEC: 800 of 1,000)")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="of the learning rate after the warm-up")
    weight_decay: Real = Field(0.2, description="not on biases, norms and the scale; CLIP, table 18")
    beta1: Momentum = Field(0.9, description="of AdamW; CLIP, table 18")
    beta2: Momentum = Field(0.98, description="of AdamW; CLIP, table 18, vision transformers")
    epsilon: PositiveReal = Field(1e-6, description="of AdamW; CLIP, table 18, vision transformers")

    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the towers; weights stay float32")
    accumulate: Positive = Field(
        1, description="parts that a process takes its share of a batch in; less memory, same loss"
    )
    local_loss: bool = Field(False, description="each process computes the loss of its own rows only; less memory")
    lock_image: bool = Field(False, description="leave the image tower as it is")
    lock_text: bool = Field(False, description="leave the text tower as it is")
    freeze_batch_norm: bool = Field(False, description="keep the statistics of batch normalisation as they are")
    seed: Count = Field(0, description="of the order of the data and all else that is drawn")
    threads: Positive = Field(1, description="CPU threads of the model; another number gives other last digits")
    workers: Count = Field(2, description="loader threads of each process; 0: none ahead")
    cache_mb: Count = Field(512, description="memory for prepared images, of each process")

    evaluate: Names = Field((), description="lmms-eval tasks, comma-separated, before, during and after the training")
    evaluate_every: Count = Field(0, description="steps between evaluations; 0: before and after only")
    zero_shot: Annotated[str | None, BeforeValidator(_null)] = Field(
        None, description="pictures of one named thing each, for zero-shot accuracy"
    )
    zero_shot_floor: Annotated[Fraction | None, BeforeValidator(_null)] = Field(
        None, description="stop, and keep the weights before, once zero-shot accuracy is under it (a fraction)"
    )
    save_every: Count = Field(500, description="steps between complete states; 0: when it is stopped only")
    tensorboard: bool = Field(True, description="write tensorboard/ beside losses.jsonl")

    @model_validator(mode="after")
    def _goes_together(self) -> TrainConfig:
        problem = next(self._problems(), None)
        if problem:
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        if (self.steps is None) == (self.epochs is None):
            yield f"expected steps or epochs, got {'both' if self.steps else 'neither'}; give one of them"
        if self.steps is not None and self.warmup_steps > self.steps:
            yield f"warmup_steps: expected at most steps={self.steps}, got {self.warmup_steps}"
        yield from self._problems_of_data()
        if self.lock_image and self.lock_text:
            yield "lock_image and lock_text: nothing but the scale would be trained; lock one of them"
        if self.zero_shot_floor is not None and not (self.zero_shot and self.evaluate_every):
            yield "zero_shot_floor: needs zero_shot, the pictures, and evaluate_every, when to look"

    def _problems_of_data(self) -> Iterator[str]:
        for source, count in (("sets", "sets_per_batch"), ("plain", "pairs_per_batch")):
            given, size = getattr(self, source), getattr(self, count)
            if given and not size:
                yield f"{source} are given and {count} is 0; say how many a step takes, or leave {source} out"
            if size and not given:
                yield f"{count}={size}: there are no {source}; name some, or leave {count} out"
        if not (self.sets or self.plain):
            yield "nothing to train on; give sets and sets_per_batch, or plain and pairs_per_batch"
        if self.epochs is not None and not self.sets:
            yield f"epochs={self.epochs}: an epoch is every candidate set once, and there are no sets; give steps"
        if len(set(self.sets)) < len(self.sets):
            yield f"sets: expected each once, got {', '.join(self.sets)}"

    def changed_keys(self, before: Mapping[str, Any]) -> list[str]:
        """The settings that differ from those of a saved training, as far as they decide what comes out of it.

        Args:
            before: what `model_dump(mode="json")` gave then.
        """
        now = self.model_dump(mode="json")
        return [
            name
            for name in dict.fromkeys([*now, *before])
            if name not in _OF_THE_MACHINE and now.get(name) != before.get(name)
        ]


def read_config(file: Path | None, flags: Mapping[str, Any]) -> TrainConfig:
    """Settings from a YAML file and from flags; a flag wins.

    Args:
        file: keys are the names of the settings.
        flags: by name of the setting; as strings or as typed values.

    Raises:
        UsageError: the file cannot be read, or a setting is unknown, missing, of another type, out of range, or does
            not go with another one.
    """
    of_file = read_settings(file, "--config", "learning_rate") if file else {}
    for key in of_file:
        if key not in TrainConfig.model_fields:
            hint = meant(str(key), TrainConfig.model_fields) or f"known: {', '.join(sorted(TrainConfig.model_fields))}"
            raise UsageError(f"{file}: unknown key {key}; {hint}")
    try:
        return TrainConfig.model_validate({**of_file, **flags})
    except ValidationError as error:
        raise UsageError(_said(error, file, flags)) from error


def flag_of(name: str) -> str:
    """The flag of a setting: `--learning-rate`."""
    return "--" + name.replace("_", "-")


def _said(error: ValidationError, file: Path | None, flags: Mapping[str, Any]) -> str:
    first = min(error.errors(), key=lambda one: one["type"] == "missing")  # what was given and is wrong comes first
    name = str(first["loc"][0]) if first["loc"] else ""
    where = flag_of(name) if name in flags else f"{file or 'train clip'}: {name}" if name else str(file or "train clip")
    message = str(first["msg"]).removeprefix("Value error, ")
    if not name:
        return f"{where}: {message}"
    if first["type"] == "missing":
        return (
            f"{file or 'train clip'}: {name} is missing; {TrainConfig.model_fields[name].description} ({flag_of(name)})"
        )
    got = first["input"]
    choices = get_args(TrainConfig.model_fields[name].annotation) if first["type"] == "literal_error" else ()
    hint = meant(str(got), map(str, choices))
    expected = message.replace("Input should be", "expected", 1)
    if first["type"] == "greater_than" and name == "learning_rate":
        hint = "with 0 no weight would change"
    return f"{where}: {expected[:1].lower()}{expected[1:]}, got {str(got)[:60]!r}{f'; {hint}' if hint else ''}"
