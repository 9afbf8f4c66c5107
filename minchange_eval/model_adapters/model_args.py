"""Reading `--model_args`, which arrive as strings, numbers and booleans of lmms-eval's guessing."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from minchange_eval.core.errors import UsageError


@dataclass(frozen=True)
class EncodingOptions:
    """The model_args that all dual encoders share.

    Attributes:
        batch_size: rows of each forward, also of the last; None: 32 on CPU, 128 on an accelerator.
        num_workers: loader threads; None: by the machine; 0: no threads of their own.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; None: CUDA where there is one.
        dtype: `fp32`, `bf16` or `fp16` for the towers; similarities are float32 in any case.
        log: whether embeddings are logged, and read back by a later run.
    """

    batch_size: int | None = None
    num_workers: int | None = None
    device: str | None = None
    dtype: str = "fp32"
    log: bool = True

    NAMES = ("batch_size", "num_workers", "device", "dtype", "log")

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> EncodingOptions:
        """Check and convert the shared arguments.

        Raises:
            UsageError: a value that is none of those above.
        """
        return cls(
            batch_size=count("batch_size", given.get("batch_size"), least=1),
            num_workers=count("num_workers", given.get("num_workers"), least=0),
            device=None if given.get("device") in (None, "") else str(given["device"]),
            dtype=one_of("dtype", given.get("dtype", "fp32"), DTYPES),
            log=bool(flag("log", given.get("log", True))),
        )


DTYPES = {
    "fp32": "fp32", "float32": "fp32", "bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "float16": "fp16"
}  # fmt: skip


def arguments(arg_string: str, outer: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`--model_args` and the command line's own options together; what stands in model_args wins.

    Raises:
        UsageError: not of the form name=value,name=value.
    """
    from lmms_eval.utils import simple_parse_args_string

    try:
        given = simple_parse_args_string(arg_string)
    except ValueError as error:
        raise UsageError(f"--model_args {arg_string}: expected name=value,name=value") from error
    options = {name: value for name, value in (outer or {}).items() if value is not None}
    # lmms-eval's own default is the number 1; what a user types is a string. One row a forward is no default.
    if options.get("batch_size") == 1 and not isinstance(options["batch_size"], str):
        del options["batch_size"]
    return {**options, **given}


def check_names(given: Mapping[str, Any], known: Collection[str], model: str) -> None:
    """Refuse model_args that the model does not have.

    Raises:
        UsageError: an unknown name; the message proposes the nearest known one.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(known))}"
            raise UsageError(f"--model {model}: unknown model_args name {name!r}. {hint}")


def flag(name: str, value: Any) -> bool | None:
    """A yes or no; None stays None.

    Raises:
        UsageError: anything else.
    """
    if value is None or isinstance(value, bool):
        return value
    if str(value).lower() in {"true", "false"}:
        return str(value).lower() == "true"
    raise UsageError(f"model_args {name}={value}: expected true or false")


def one_of(name: str, value: Any, choices: Mapping[str, str]) -> str:
    """The meaning of one of several words.

    Raises:
        UsageError: another word.
    """
    meaning = choices.get(str(value))
    if meaning is None:
        raise UsageError(f"model_args {name}={value}: expected one of {', '.join(choices)}")
    return meaning


def first_line(error: Exception) -> str:
    """What another library's error says, short enough to stand in one of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def count(name: str, value: Any, least: int) -> int | None:
    """A whole number; `auto` and None are None.

    Raises:
        UsageError: anything else, or a number below `least`.
    """
    if value is None or str(value) == "auto":
        return None
    try:
        number = int(str(value))
    except ValueError:
        number = least - 1
    if number < least:
        raise UsageError(f"{name}={value}: expected a whole number of at least {least}, or auto")
    return number
