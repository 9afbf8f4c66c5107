"""Weights: their digest, and reading them from files without running what is in the file."""

from __future__ import annotations

import hashlib
import io
import pickle  # only its error; nothing is unpickled here but by torch with weights_only
import pickletools
import shlex
import zipfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minchange_eval.core.errors import UsageError
from minchange_eval.model_adapters.model_args import first_line

if TYPE_CHECKING:
    import torch

ARRAYS = {".npy", ".npz"}  # numpy's, which hold nothing else


def weights_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """Digest of named tensors: of names, dtypes, shapes and bytes, whatever the file they came from.

    Args:
        state: name -> tensor, as `state_dict` gives it; the order does not matter.
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tokenizer_digest(tokenizer: Any) -> str:
    """Digest of a tokenizer of transformers: its whole state where that can be had, else its vocabulary."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    state = fast.to_str() if fast is not None else repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def check_readable(path: Path) -> None:
    """Refuse a checkpoint that is damaged, or that could only be read by running what is in it.

    Raises:
        UsageError: a pickle that holds more than tensors, or a TorchScript archive: the message gives the command that
            converts it; anything else that cannot be read: the message gives the reason.
    """
    if path.suffix in ARRAYS:
        return
    if _members(path, "constants.pkl"):
        raise UsageError(f"weights {path}: a TorchScript archive is a program; {_conversion(path, _OF_SCRIPT)}")
    try:
        _read(path)
    except Exception as error:  # whatever a damaged file makes the readers raise
        if isinstance(error, pickle.UnpicklingError) and _is_whole(path):
            reason = "this pickle holds more than tensors and reading it can run any program"
            raise UsageError(f"weights {path}: {reason}; {_conversion(path, _OF_PICKLE)}") from error
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"weights {path}: cut off, damaged or no checkpoint ({reason}); get the file again") from error


def _read(path: Path) -> None:
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "pt"):
            return
    import torch

    # what torch saved before its version 1.6 is no zip archive and cannot be mapped into memory
    torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _members(path: Path, name: str) -> list[str]:
    """The files of this name in a checkpoint that is a zip archive; none where it is something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [member for member in archive.namelist() if member.split("/")[1:] == [name]]
    except (OSError, ValueError, zipfile.BadZipFile):
        return []


def _is_whole(path: Path) -> bool:
    """Whether the pickles that hold a checkpoint's structure can be read to their ends; nothing in them is run."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                (member,) = _members(path, "data.pkl")
                _walk(io.BufferedReader(io.BytesIO(archive.read(member))))
        else:
            with path.open("rb") as stream:
                _walk(stream)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    return True


def _walk(stream: io.BufferedReader) -> None:
    """Raises: ValueError where one of the first four pickles is broken; before torch 1.6, the fourth was the model."""
    for _ in range(4):
        if stream.peek(1):
            deque(pickletools.genops(stream), maxlen=0)


_OF_PICKLE = (
    'c = torch.load(sys.argv[1], map_location="cpu", weights_only=False); '
    'c = c.state_dict() if hasattr(c, "state_dict") else c.get("state_dict", c); '
    'c = {k.removeprefix("module."): v for k, v in c.items() if hasattr(v, "clone")}'
)
_OF_SCRIPT = (  # OpenAI's archives hold three numbers beside the weights
    'c = torch.jit.load(sys.argv[1], map_location="cpu").state_dict(); '
    'c = {k: v for k, v in c.items() if k not in ("input_resolution", "context_length", "vocab_size")}'
)


def _conversion(path: Path, reading: str) -> str:
    program = (
        f"import sys, torch; from safetensors.torch import save_file; {reading}; "
        "save_file({k: v.clone().contiguous() for k, v in c.items()}, sys.argv[2])"
    )
    command = shlex.join(["python", "-c", program, str(path), str(path.with_suffix(".safetensors"))])
    return f"if you trust its origin, convert it once and use the result: {command}"
