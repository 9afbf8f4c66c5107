"""What is measured before, during and after a training, and the floor that ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from minchange_eval.core.errors import UsageError
from minchange_eval.core.metrics import whole
from minchange_eval.core.record import RunRecord
from minchange_eval.model_adapters.encoder import Encoder
from minchange_eval.trainers.clip.config import TrainConfig
from minchange_eval.trainers.clip.state import random_states_kept, weights_of
from minchange_eval.trainers.clip.zero_shot import ZeroShot

ZERO_SHOT = "zero_shot"


class Evaluator(Protocol):
    """Scores a model on tasks and writes the record as `records/<label>.jsonl`.

    Attributes:
        datasets: that the tasks ask, by name.
    """

    datasets: tuple[str, ...]

    def __call__(self, encoder: Encoder, label: str, name: str | None = None) -> RunRecord: ...


class Evaluations:
    """The evaluations of one training; on the first process only.

    Attributes:
        values: what was measured, by step (0: before) and name (`spec_mini/i2t_accuracy`, `zero_shot`); fractions.
        good: the last weights whose zero-shot accuracy was not under the floor; None without a floor.
        good_step: their step.
    """

    def __init__(self, config: TrainConfig, evaluator: Evaluator | None, say: Callable[[str], None]) -> None:
        self.values: dict[int, dict[str, float]] = {}
        self.good: Mapping[str, Tensor] | None = None
        self.good_step: int | None = None
        self._evaluator, self._say, self._floor = evaluator, say, config.zero_shot_floor
        self._zero_shot = ZeroShot(config.zero_shot) if config.zero_shot else None

    def at(self, step: int, encoder: Encoder, *, last: bool = False) -> dict[str, float]:
        """Measure the model as it is after a step.

        Args:
            last: of the training; then tasks wait for `of_folder`.

        Raises:
            UsageError: the model is under the floor before the first step.
        """
        values: dict[str, float] = {}
        with random_states_kept():
            if self._evaluator and not last:
                label = f"step_{step:06d}" if step else "before"
                name = f"{encoder.name} after step {step}" if step else None
                values |= measured(self._evaluator(encoder, label, name))
            if self._zero_shot:
                accuracy = self._zero_shot(encoder)
                values[ZERO_SHOT] = accuracy.accuracy
                self._say(f"step {step}: {accuracy}")
        if self._floor is not None and values[ZERO_SHOT] >= self._floor:
            self.good, self.good_step = weights_of(encoder.model), step
        elif self._floor is not None and not step:
            raise UsageError(
                f"zero_shot_floor={self._floor:g}: the model as given has {values[ZERO_SHOT]:.3f}; lower the floor"
            )
        self.values[step] = values
        return values

    def of_folder(self, encoder: Encoder) -> RunRecord:
        """The record of the checkpoint folder, loaded again."""
        assert self._evaluator is not None
        return self._evaluator(encoder, "after")

    def under_floor(self, step: int) -> str:
        """Why the training ends after a step; empty where it goes on."""
        value = self.values.get(step, {}).get(ZERO_SHOT)
        if self._floor is None or value is None or value >= self._floor:
            return ""
        return (
            f"zero-shot accuracy fell to {value:.3f} at step {step}, under zero_shot_floor={self._floor:g}; "
            f"the weights of step {self.good_step} are kept"
        )


def measured(record: RunRecord) -> dict[str, float]:
    """The metrics of whole tasks and groups, `spec_mini/i2t_accuracy`; of a group's members only the group's."""
    members = {member for names in record.groups.values() for member in names} - set(record.groups)
    return {
        f"{name}/{metric}": value.value
        for name, values in record.metrics.items()
        if name not in members
        for metric, value in whole(values).items()
    }
