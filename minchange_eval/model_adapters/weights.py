"""Weights: their digest, and reading them from files without running what is in the file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minchange_eval.core.errors import UsageError

if TYPE_CHECKING:
    import torch

PICKLES = {".bin", ".pt", ".pth", ".ckpt"}


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
    """Refuse a checkpoint that could only be read by running what is in it.

    Raises:
        UsageError: a pickle that holds more than tensors; the message gives the command that converts it.
    """
    if path.suffix not in PICKLES:
        return
    import pickle  # only the name of the error; nothing is unpickled here without weights_only

    import torch

    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        convert = (
            "import torch; from safetensors.torch import save_file; "
            f"c = torch.load({str(path)!r}, map_location='cpu', weights_only=False); "
            "c = c.state_dict() if hasattr(c, 'state_dict') else c.get('state_dict', c); "
            "c = {k.removeprefix('module.'): v.clone().contiguous() for k, v in c.items() if hasattr(v, 'clone')}; "
            f"save_file(c, {str(path.with_suffix('.safetensors'))!r})"
        )
        raise UsageError(
            f"weights {path}: this pickle holds more than tensors and reading it can run any program; "
            f'if you trust its origin, convert it once and use the result: python -c "{convert}"'
        ) from error
