"""Which published model a run is of: the names under which published models are run, and the flags of their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from minchange_eval.core.errors import UsageError
from minchange_eval.data.published_results import published_rows

# How a run names it (architecture/weights of open_clip, a name at the Hub or a server's) -> how papers do.
_NAMES = (
    (r"vit-b-32(-quickgelu)?/openai|openai/clip-vit-base-patch32", r"CLIP ViT-B/32( \(OpenAI\))?"),
    (r"vit-b-16(-quickgelu)?/openai|openai/clip-vit-base-patch16", r"CLIP ViT-B/16"),
    (r"vit-l-14(-quickgelu)?/openai|openai/clip-vit-large-patch14", r"CLIP ViT-L/14"),
    (r"vit-b-16-siglip/webli|google/siglip-base-patch16-224", r"SigLIP ViT-B/16"),
    (r"vit-l-16-siglip-256/webli|google/siglip-large-patch16-256", r"SigLIP ViT-L/16"),
    (r"coca_vit-b-32/laion2b_s13b_b90k", r"CoCa"),
    (r"facebook/flava-full", r"FLAVA(-full)?"),
    (r"salesforce/blip-itm-base-coco", r"BLIP( ViT-B \(COCO retrieval ckpt, 384px\))?"),
    (r"wjpoom/spec-clip-vit-b-32", r"SPEC-CLIP ViT-B/32 \(.*ours\)"),
    (r"mair-lab/vismin-clip-vit-large", r"VisMin-CLIP ViT-L/14"),
    (r"huggingfacem4/idefics2-8b", r"Idefics2"),
    (r"qwen/qwen2-vl-7b-instruct", r"Qwen2-VL-7B"),
    (r"qwen/qwen2\.5-vl-7b-instruct", r"Qwen2\.5-VL-7B"),
    (r"llava-hf/llava-v1\.6-(mistral|vicuna)-7b-hf", r"LLaVA-V1\.6-7B|LLaVA-1\.6 7B"),
    (r"meta-llama/llama-3\.2-11b-vision-instruct", r"LLaMA-3\.2-11B"),
    (r"gpt-4o(-2024-08-06)?", r"GPT-4o(-2024-08-06)?"),
    (r"gpt-4\.1-2025-04-14", r"GPT-4\.1-2025-04-14"),
)


def published_models(benchmark: str) -> tuple[str, ...]:
    """The models, not humans or chance, that something is published of, in the order of the sources.

    Raises:
        UsageError: nothing is published on the benchmark here.
    """
    return tuple(dict.fromkeys(row.model for row in published_rows(benchmark) if row.role == "model"))


def models_of_run(name: str, benchmark: str) -> tuple[str, ...]:
    """Names under which a run's model is published; empty where that is not known.

    >>> models_of_run("ViT-B-32/openai", "vismin")
    ('CLIP ViT-B/32',)
    """
    bare = name.strip().lower().removeprefix("hf-hub:")
    patterns = [paper for run, paper in _NAMES if re.fullmatch(run, bare)]
    return tuple(model for model in published_models(benchmark) if any(re.fullmatch(one, model) for one in patterns))


def models_named(given: Iterable[str], benchmark: str) -> tuple[str, ...]:
    """The published models that a user names: exactly, or by a part that only one of them has.

    Raises:
        UsageError: a name fits none or several.
    """
    known = published_models(benchmark)
    found = []
    for name in given:
        exact = [model for model in known if model.lower() == name.lower()]
        fitting = exact or [model for model in known if name.lower() in model.lower()]
        if len(fitting) != 1:
            which = "several" if fitting else "none"
            raise UsageError(
                f"--model {name!r} fits {which} of the published models of {benchmark}: {'; '.join(fitting or known)}"
            )
        found += fitting
    return tuple(dict.fromkeys(found))
