"""A worse copy of the bundled CLIP, to see a gate close: noise on every weight matrix.

`python examples/damage_checkpoint.py damaged` writes it, `--model_args model_name=damaged` scores it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import minchange_eval


def main() -> None:
    """Write the copy and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="is written anew")
    parser.add_argument("--noise", type=float, default=0.35, help="standard deviations of each matrix")
    args = parser.parse_args()
    damage(args.folder, args.noise)
    print(args.folder)


def damage(folder: Path, noise: float, seed: int = 0) -> None:
    """Copy the bundled CLIP to `folder` with Gaussian noise on its matrices; the same bytes for the same seed.

    Args:
        noise: its standard deviation, in standard deviations of the matrix.
    """
    import torch
    from safetensors.torch import load_file, save_file

    bundled = Path(minchange_eval.__file__).parent / "model_adapters" / "minchange_tiny"
    shutil.copytree(bundled, folder, dirs_exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    weights = load_file(folder / "open_clip_model.safetensors")
    for name, weight in weights.items():
        if weight.is_floating_point() and weight.ndim > 1:
            drawn = torch.randn(weight.shape, generator=generator)
            weights[name] = weight + (noise * weight.float().std() * drawn).to(weight.dtype)
    save_file(weights, folder / "open_clip_model.safetensors")


if __name__ == "__main__":
    main()
