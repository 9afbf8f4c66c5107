"""Models that lmms-eval can run on this package's tasks.

Importing this package loads neither torch nor lmms-eval: the console script reads it at every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest


def manifests() -> list[ModelManifest]:
    """Entry point of the group `lmms_eval.models`: this package's adapters, each imported when it is asked for."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return [
        ModelManifest("open_clip", simple_class_path=f"{__name__}.open_clip_models.OpenClip"),
        ModelManifest("hf_dual_encoder", simple_class_path=f"{__name__}.huggingface_models.HuggingFaceDualEncoder"),
        ModelManifest("hf_multi_image", chat_class_path=f"{__name__}.hf_multi_image.HuggingFaceMultiImage"),
        ModelManifest("openai_multi_image", chat_class_path=f"{__name__}.openai_multi_image.OpenAIMultiImage"),
    ]


__all__ = ["manifests"]
