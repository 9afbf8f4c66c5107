"""SPEC's hard-negative loss, the one term that open_clip's own `ClipLoss` lacks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def hard_negative_loss(images: Tensor, texts: Tensor, scale: Tensor | float, sets: Tensor, anchors: Tensor) -> Tensor:
    """L_hn = L_hn^I2T + L_hn^T2I over the members of candidate sets.

    The paper's item is a pair (I_i, T_i) with hard negatives of its own; here it is an anchor, and the other members
    of its candidate set are its hard negatives. With s(I, T) = exp(scale * cos(I, T)), mean over the anchors i:

        L_hn^I2T = -log s(I_i, T_i) / (sum of s(I_i, T_j) over the anchors j + sum of s(I_i, T_h) over i's negatives h)

    and L_hn^T2I the same with the images and texts exchanged. Hard negatives of other anchors are not in the sum.
    With every member an anchor this is the contrastive loss over all members, twice (CLIP halves it).

    Args:
        images: [members, width], unit length.
        texts: [members, width], unit length; text i is true of image i.
        scale: the inverse temperature, exp(logit_scale) in CLIP's terms.
        sets: [members], integers; equal numbers are of one candidate set.
        anchors: [members], boolean; at least one. One anchor a set is the paper's reading.

    Returns:
        A scalar. log(anchors + hard negatives of one anchor) in each direction when nothing can be told apart.

    Raises:
        ValueError: other shapes, or no anchor.

    Source: SPEC, arXiv:2312.00081, Eq. 6 to 9. Eq. 6 prints squared norms in the cosine; norms are meant.
    """
    members = images.shape[0]
    if images.ndim != 2 or images.shape != texts.shape or sets.shape != (members,) or anchors.shape != (members,):
        raise ValueError(
            "expected images and texts [members, width], sets and anchors [members], got "
            f"{tuple(images.shape)}, {tuple(texts.shape)}, {tuple(sets.shape)}, {tuple(anchors.shape)}"
        )
    targets = anchors.nonzero().squeeze(1)
    if not len(targets):
        raise ValueError("expected at least one anchor, got none")
    absent = ~(anchors[None, :] | (sets[:, None] == sets[None, :]))[targets]
    image_to_text = (scale * images[targets] @ texts.T).masked_fill(absent, -torch.inf)
    text_to_image = (scale * texts[targets] @ images.T).masked_fill(absent, -torch.inf)
    return functional.cross_entropy(image_to_text, targets) + functional.cross_entropy(text_to_image, targets)
