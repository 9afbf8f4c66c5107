"""Tiny random chat checkpoints of every multi-image family, built from their configs without a network.

Each builder states in its docstring the trap of its family. All of them share one tokenizer (byte-level BPE trained
here on a few sentences) in which the single letters A-I and the usual verdicts are one token, with and without a
leading blank; random weights are scaled by fan-in, so that a small change of an image changes the logits visibly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LETTERS = tuple("ABCDEFGHI")
VERDICTS = ("Yes", "No", "True", "False", "First", "Second", "Not", "yes", "no", "true", "false", "first", "second")
SENTENCES = (
    "Look at the two images and answer the question with the letter of the option only.",
    "Which caption describes the image best? Answer with the letter of the option.",
    "Does this image show the caption? Answer with Yes or No. Is the statement True or False?",
    "The first image shows a red cat to the left of a blue dog; the second image shows one dog.",
    "What has changed between the first and the second image? The object is above, below, left, right.",
    "User Assistant system user assistant model Question Answer Options Statement Caption Image 0 1 2 3 4 5 6 7 8 9",
)


@dataclass(frozen=True)
class Checkpoint:
    """What may be asked of a checkpoint; the switches of the fault tests and the sizes of the benchmarks."""

    seed: int = 0
    chat_template: bool = True
    pad_token: bool = True
    missing: tuple[str, ...] = ()  # characters that the vocabulary lacks: a label of them has no token
    says: tuple[str, ...] = ()  # the only tokens that its generation config lets it say; any where empty
    nan: bool = False  # the output head is NaN, so every logit is
    context: int = 4096  # tokens; as the config and the tokenizer say it
    text_only: bool = False  # a language model without any image part
    width: int = 64  # of the language model; a multiple of 16, from 256 on a multiple of 64
    layers: int = 2
    vision_width: int = 64
    vision_layers: int = 2
    image_px: int = 56  # longest edge of an image or a tile after resizing; a multiple of 56

    @property
    def head_width(self) -> int:
        return 16 if self.width < 256 else 64

    def text(self, tokenizer: Any, **more: Any) -> dict[str, Any]:
        heads = self.width // self.head_width
        return {
            "vocab_size": len(tokenizer),
            "hidden_size": self.width,
            "intermediate_size": 2 * self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": heads,
            "num_key_value_heads": max(1, heads // 2),
            "head_dim": self.head_width,
            "max_position_embeddings": self.context,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": False,
            **more,
        }

    def vision(self, **more: Any) -> dict[str, Any]:
        return {
            "hidden_size": self.vision_width,
            "intermediate_size": 2 * self.vision_width,
            "num_hidden_layers": self.vision_layers,
            "num_attention_heads": self.vision_heads,
            "image_size": self.image_px,
            "patch_size": 14,
            **more,
        }

    @property
    def vision_heads(self) -> int:
        return self.vision_width // (16 if self.vision_width < 256 else 64)


@dataclass(frozen=True)
class Parts:
    """Config and processor of a checkpoint, from which its model follows."""

    config: Any
    processor: Any


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPOKEN = (
    "{% for message in messages %}{{ message['role'] | ROLE }}: "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}END{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant' | ROLE }}:{% endif %}"
)
HEADED = (
    "{{ bos_token }}{% for message in messages %}OPEN{{ message['role'] }}SHUT"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}END{% endfor %}"
    "{% if add_generation_prompt %}OPENassistantSHUT{% endif %}"
)


def _chatml(image: str) -> str:
    return CHATML.replace("IMAGE", image)


def _spoken(image: str, role: str, end: str) -> str:
    return SPOKEN.replace("IMAGE", image).replace("ROLE", role).replace("END", end)


def _headed(image: str, opening: str, shut: str, end: str) -> str:
    text = HEADED.replace("IMAGE", image).replace("OPEN", opening).replace("SHUT", shut)
    return text.replace("END", end)


def _tokenizer(
    made: Checkpoint, end: str, named: dict[str, str], others: tuple[str, ...] = (), bos: bool = False
) -> Any:
    """A byte-level BPE tokenizer; `named` become attributes (`tokenizer.image_token`), all of them whole tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    words = LETTERS + VERDICTS
    texts = [*SENTENCES, *(f"{word} {word}" for word in words), *(f"({letter}) {letter}." for letter in LETTERS)]
    for lost in made.missing:
        texts = [text.replace(lost, "") for text in texts]
    alphabet = [byte for byte in pre_tokenizers.ByteLevel.alphabet() if byte not in made.missing]
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    model.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=700, min_frequency=1, initial_alphabet=sorted(alphabet), show_progress=False),
    )
    special = ["<s>"] if bos else []
    special += ["<pad>", end, *others, *named.values()]
    model.add_special_tokens(list(dict.fromkeys(special)))
    if bos:
        model.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", model.token_to_id("<s>"))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        bos_token="<s>" if bos else None,
        eos_token=end,
        pad_token="<pad>" if made.pad_token else None,
        extra_special_tokens=dict(named),
        model_max_length=made.context,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _sections(head_width: int, time: int) -> list[int]:
    """Shares of time, height and width in the rotary positions: together half of a head."""
    half = head_width // 2
    side = (half - time) // 2
    return [half - 2 * side, side, side]


def _qwen_tokenizer(made: Checkpoint) -> Any:
    named = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_start_token": "<|vision_start|>",
        "vision_end_token": "<|vision_end|>",
    }
    return _tokenizer(made, "<|im_end|>", named, ("<|im_start|>",))


def _qwen(
    made: Checkpoint, config: Any, processor: Any, text: dict[str, Any], vision: dict[str, Any], px: int
) -> Parts:
    from transformers import Qwen2VLImageProcessor, Qwen2VLVideoProcessor, Qwen3VLVideoProcessor

    tokenizer = _qwen_tokenizer(made)
    patch_px = int(vision["patch_size"])
    pixels = {"size": {"shortest_edge": (2 * patch_px) ** 2, "longest_edge": px * px}, "patch_size": patch_px}
    video = Qwen3VLVideoProcessor if patch_px == 16 else Qwen2VLVideoProcessor
    return Parts(
        config(
            text_config=made.text(tokenizer, **text),
            vision_config=vision,
            image_token_id=tokenizer.image_token_id,
            video_token_id=tokenizer.video_token_id,
            vision_start_token_id=tokenizer.vision_start_token_id,
            vision_end_token_id=tokenizer.vision_end_token_id,
            tie_word_embeddings=False,
        ),
        processor(
            image_processor=Qwen2VLImageProcessor(**pixels),
            video_processor=video(**pixels),
            tokenizer=tokenizer,
            chat_template=_chatml("<|vision_start|><|image_pad|><|vision_end|>"),
        ),
    )


def qwen2_vl(made: Checkpoint) -> Parts:
    """Images of any size and shape; `mrope_section` must sum to half of a head's width."""
    from transformers import Qwen2VLConfig, Qwen2VLProcessor

    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": _sections(made.head_width, 2)}
    vision = {
        "depth": made.vision_layers,
        "embed_dim": made.vision_width,
        "hidden_size": made.width,
        "num_heads": made.vision_heads,
        "patch_size": 14,
    }
    return _qwen(made, Qwen2VLConfig, Qwen2VLProcessor, {"rope_parameters": rope}, vision, made.image_px)


def qwen2_5_vl(made: Checkpoint) -> Parts:
    """As Qwen2-VL; the tower attends in windows except in the layers named."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLProcessor

    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": _sections(made.head_width, 2)}
    vision = {
        "depth": made.vision_layers,
        "hidden_size": made.vision_width,
        "intermediate_size": 2 * made.vision_width,
        "out_hidden_size": made.width,
        "num_heads": made.vision_heads,
        "patch_size": 14,
        "window_size": 56,
        "fullatt_block_indexes": [made.vision_layers - 1],
    }
    return _qwen(made, Qwen2_5_VLConfig, Qwen2_5_VLProcessor, {"rope_parameters": rope}, vision, made.image_px)


def qwen3_vl(made: Checkpoint) -> Parts:
    """Patches of 16 px; features of inner layers of the tower are added in the first text layers (deepstack)."""
    from transformers import Qwen3VLConfig, Qwen3VLProcessor

    rope = {
        "rope_type": "default",
        "rope_theta": 1e4,
        "mrope_section": _sections(made.head_width, 4),
        "mrope_interleaved": True,
    }
    vision = {
        "depth": made.vision_layers,
        "hidden_size": made.vision_width,
        "intermediate_size": 2 * made.vision_width,
        "out_hidden_size": made.width,
        "num_heads": made.vision_heads,
        "patch_size": 16,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    return _qwen(made, Qwen3VLConfig, Qwen3VLProcessor, {"rope_parameters": rope}, vision, made.image_px * 8 // 7)


def idefics2(made: Checkpoint) -> Parts:
    """Images keep their shape and are padded to the largest with a pixel mask; a perceiver makes 4 tokens of each."""
    from transformers import Idefics2Config, Idefics2ImageProcessor, Idefics2Processor

    named = {"image_token": "<image>", "image_boundary_token": "<fake_token_around_image>"}
    tokenizer = _tokenizer(made, "<end_of_utterance>", named, bos=True)
    heads = made.width // made.head_width
    latents = 4 * (made.image_px // 56) ** 2
    return Parts(
        Idefics2Config(
            text_config={"model_type": "mistral", "sliding_window": None, **made.text(tokenizer)},
            vision_config=made.vision(),
            perceiver_config={
                "hidden_size": made.width,
                "resampler_n_latents": latents,
                "resampler_depth": 1,
                "resampler_n_heads": heads,
                "resampler_head_dim": made.head_width,
                "num_key_value_heads": max(1, heads // 2),
            },
            image_token_id=tokenizer.image_token_id,
            tie_word_embeddings=False,
        ),
        Idefics2Processor(
            Idefics2ImageProcessor(
                size={"shortest_edge": made.image_px // 2, "longest_edge": made.image_px}, do_image_splitting=False
            ),
            tokenizer,
            image_seq_len=latents,
            chat_template=_spoken("<image>", "capitalize", "<end_of_utterance>\n"),
        ),
    )


def _clip_tower(made: Checkpoint) -> dict[str, Any]:
    return {"model_type": "clip_vision_model", **made.vision(projection_dim=made.vision_width)}


def _siglip_tower(made: Checkpoint) -> dict[str, Any]:
    return {"model_type": "siglip_vision_model", **made.vision(vision_use_head=False)}


def _square(made: Checkpoint) -> dict[str, Any]:
    edge_px = made.image_px
    return {"size": {"shortest_edge": edge_px}, "crop_size": {"height": edge_px, "width": edge_px}}


def llava(made: Checkpoint) -> Parts:
    """LLaVA-1.5: the centre square of an image, its class token dropped; features of the layer before the last."""
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaProcessor

    tokenizer = _tokenizer(made, "</s>", {"image_token": "<image>"}, bos=True)
    return Parts(
        LlavaConfig(
            text_config={"model_type": "llama", **made.text(tokenizer)},
            vision_config=_clip_tower(made),
            image_token_index=tokenizer.image_token_id,
            image_seq_length=(made.image_px // 14) ** 2,
        ),
        LlavaProcessor(
            CLIPImageProcessor(**_square(made)),
            tokenizer,
            patch_size=14,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=_spoken("<image>\n", "upper", " "),
        ),
    )


def llava_interleave(made: Checkpoint) -> Parts:
    """LLaVA's class over SigLIP (no class token to drop) and Qwen2: the Interleave checkpoints."""
    from transformers import LlavaConfig, LlavaProcessor, SiglipImageProcessor

    tokenizer = _tokenizer(made, "<|im_end|>", {"image_token": "<image>"}, ("<|im_start|>",))
    return Parts(
        LlavaConfig(
            text_config={"model_type": "qwen2", **made.text(tokenizer)},
            vision_config=_siglip_tower(made),
            image_token_index=tokenizer.image_token_id,
            image_seq_length=(made.image_px // 14) ** 2,
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
        ),
        LlavaProcessor(
            SiglipImageProcessor(size={"height": made.image_px, "width": made.image_px}),
            tokenizer,
            patch_size=14,
            vision_feature_select_strategy="full",
            num_additional_image_tokens=0,
            chat_template=_chatml("<image>"),
        ),
    )


def _tiles(edge_px: int) -> list[list[int]]:
    """Resolutions of at most two by two tiles; an image takes the one of its shape."""
    return [[edge_px, 2 * edge_px], [2 * edge_px, edge_px], [2 * edge_px, 2 * edge_px]]


def llava_next(made: Checkpoint) -> Parts:
    """The whole image and its tiles: the number of tokens follows from the shape, `image_sizes` tells it the model."""
    from transformers import LlavaNextConfig, LlavaNextImageProcessor, LlavaNextProcessor

    tokenizer = _tokenizer(made, "</s>", {"image_token": "<image>"}, bos=True)
    return Parts(
        LlavaNextConfig(
            text_config={"model_type": "llama", **made.text(tokenizer)},
            vision_config={**_clip_tower(made), "patch_size": 28},
            image_token_index=tokenizer.image_token_id,
            image_grid_pinpoints=_tiles(made.image_px),
            image_seq_length=(made.image_px // 28) ** 2,
        ),
        LlavaNextProcessor(
            LlavaNextImageProcessor(**_square(made), image_grid_pinpoints=_tiles(made.image_px)),
            tokenizer,
            patch_size=28,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=_spoken("<image>\n", "upper", " "),
        ),
    )


def llava_onevision(made: Checkpoint) -> Parts:
    """Tiled when an image is alone in its prompt, one tile each among several: images go in nested by prompt."""
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    named = {"image_token": "<image>", "video_token": "<video>"}
    tokenizer = _tokenizer(made, "<|im_end|>", named, ("<|im_start|>",))
    size = {"height": made.image_px, "width": made.image_px}
    tiles = [[made.image_px, made.image_px], *_tiles(made.image_px)]
    return Parts(
        LlavaOnevisionConfig(
            text_config={"model_type": "qwen2", **made.text(tokenizer)},
            vision_config={**_siglip_tower(made), "patch_size": 28},
            image_token_index=tokenizer.image_token_id,
            video_token_index=tokenizer.video_token_id,
            image_grid_pinpoints=tiles,
        ),
        LlavaOnevisionProcessor(
            LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=tiles),
            tokenizer,
            LlavaOnevisionVideoProcessor(size=size),
            num_image_tokens=(made.image_px // 28) ** 2,
            vision_feature_select_strategy="full",
            chat_template=_chatml("<image>"),
        ),
    )


def _idefics3_tokens(size: int) -> tuple[str, ...]:
    return tuple(f"<row_{row}_col_{column}>" for row in range(1, size + 1) for column in range(1, size + 1))


def idefics3(made: Checkpoint) -> Parts:
    """Every image is enlarged and cut into two by two tiles besides itself; token ids of the tags stand in the text."""
    from transformers import Idefics3Config, Idefics3ImageProcessor, Idefics3Processor

    others = ("<global-img>", "<fake_token_around_image>", *_idefics3_tokens(2))
    tokenizer = _tokenizer(made, "<end_of_utterance>", {"image_token": "<image>"}, others, bos=True)
    return Parts(
        Idefics3Config(
            text_config={"model_type": "llama", **made.text(tokenizer)},
            vision_config=made.vision(),
            image_token_id=tokenizer.image_token_id,
            scale_factor=2,
            pad_token_id=tokenizer.pad_token_id,
        ),
        Idefics3Processor(
            Idefics3ImageProcessor(
                size={"longest_edge": 2 * made.image_px}, max_image_size={"longest_edge": made.image_px}
            ),
            tokenizer,
            image_seq_len=(made.image_px // 28) ** 2,
            chat_template=_spoken("<image>", "capitalize", "<end_of_utterance>\n"),
        ),
    )


def smolvlm(made: Checkpoint) -> Parts:
    """Idefics3 with tokens named in the tokenizer; its processor wants num2words; images are not split here."""
    from transformers import SmolVLMConfig, SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    named = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "end_of_utterance_token": "<end_of_utterance>",
        "global_image_token": "<global-img>",
        "video_token": "<video>",
    }
    tokenizer = _tokenizer(made, "<end_of_utterance>", named, ("<|im_start|>",))
    size = {"size": {"longest_edge": made.image_px}, "max_image_size": {"longest_edge": made.image_px}}
    video = {"video_sampling": {"fps": 1, "max_frames": 2, "video_size": {"longest_edge": made.image_px}}}
    return Parts(
        SmolVLMConfig(
            text_config={"model_type": "llama", **made.text(tokenizer)},
            vision_config=made.vision(),
            image_token_id=tokenizer.image_token_id,
            scale_factor=2,
            pad_token_id=tokenizer.pad_token_id,
        ),
        SmolVLMProcessor(
            SmolVLMImageProcessor(**size, do_image_splitting=False),
            tokenizer,
            SmolVLMVideoProcessor(**size, **video),
            image_seq_len=(made.image_px // 28) ** 2,
            chat_template="<|im_start|>" + _spoken("<image>", "capitalize", "<end_of_utterance>\n"),
        ),
    )


def internvl(made: Checkpoint) -> Parts:
    """Tiles by shape, the number of tokens with it; the processor finds its tokens by their names in the tokenizer."""
    from transformers import GotOcr2ImageProcessor, InternVLConfig, InternVLProcessor, InternVLVideoProcessor

    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = _tokenizer(made, "<|im_end|>", named, ("<|im_start|>",))
    size = {"height": made.image_px, "width": made.image_px}
    tokens = (made.image_px // 28) ** 2
    return Parts(
        InternVLConfig(
            text_config={"model_type": "qwen2", **made.text(tokenizer)},
            vision_config={**made.vision(), "image_size": [made.image_px] * 2, "patch_size": [14, 14]},
            image_token_id=tokenizer.context_image_token_id,
            image_seq_length=tokens,
            tie_word_embeddings=False,
        ),
        InternVLProcessor(
            GotOcr2ImageProcessor(size=size, crop_to_patches=True, max_patches=4),
            tokenizer,
            InternVLVideoProcessor(size=size),
            image_seq_length=tokens,
            chat_template=_chatml("<IMG_CONTEXT>\n"),
        ),
    )


def mllama(made: Checkpoint) -> Parts:
    """Cross attention: one token an image, whose id is the vocabulary's size (no logit); gates start at zero.

    A word attends to the last image before it only, so a self-attending layer has to follow a cross layer to carry
    the first image to the answer; one has to go before it too, for the first layer's cache tells the prompt's length.
    """
    from transformers import MllamaConfig, MllamaImageProcessor, MllamaProcessor

    others = ("<|start_header_id|>", "<|end_header_id|>")
    tokenizer = _tokenizer(made, "<|eot_id|>", {"image_token": "<|image|>"}, others, bos=True)
    if tokenizer.image_token_id != len(tokenizer) - 1:
        raise ValueError(f"mllama: the image token must be the last one, got id {tokenizer.image_token_id}")
    size = {"height": made.image_px, "width": made.image_px}
    layers = made.layers + 1
    text = made.text(
        tokenizer, vocab_size=len(tokenizer) - 1, num_hidden_layers=layers, cross_attention_layers=[layers - 2]
    )
    vision = made.vision(
        num_global_layers=1,
        attention_heads=made.vision_heads,
        intermediate_layers_indices=[0],
        vision_output_dim=2 * made.vision_width,
        max_num_tiles=4,
    )
    del text["head_dim"], vision["num_attention_heads"]
    return Parts(
        MllamaConfig(text_config=text, vision_config=vision, image_token_index=tokenizer.image_token_id),
        MllamaProcessor(
            MllamaImageProcessor(size=size, max_image_tiles=4),
            tokenizer,
            chat_template=_headed("<|image|>", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
        ),
    )


def gemma3(made: Checkpoint) -> Parts:
    """The prompt holds a begin token, the processor adds the image's tokens, which attend in both directions."""
    from transformers import Gemma3Config, Gemma3ImageProcessor, Gemma3Processor

    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = _tokenizer(made, "<end_of_turn>", named, ("<start_of_turn>",), bos=True)
    tokens = (made.image_px // 28) ** 2
    kinds = ["sliding_attention", "full_attention"]
    text = made.text(
        tokenizer,
        layer_types=[kinds[layer % 2] for layer in range(made.layers)],
        sliding_window=1024,
        query_pre_attn_scalar=made.head_width,
    )
    return Parts(
        Gemma3Config(
            text_config=text,
            vision_config=_siglip_tower(made),
            mm_tokens_per_image=tokens,
            boi_token_index=tokenizer.boi_token_id,
            eoi_token_index=tokenizer.eoi_token_id,
            image_token_index=tokenizer.image_token_id,
            tie_word_embeddings=False,
        ),
        Gemma3Processor(
            Gemma3ImageProcessor(size={"height": made.image_px, "width": made.image_px}),
            tokenizer,
            image_seq_length=tokens,
            chat_template=_headed("<start_of_image>", "<start_of_turn>", "\n", "<end_of_turn>\n"),
        ),
    )


FAMILY_PARTS: dict[str, Callable[[Checkpoint], Parts]] = {
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "idefics2": idefics2,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
    "llava": llava,
    "llava_interleave": llava_interleave,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "internvl": internvl,
    "mllama": mllama,
    "gemma3": gemma3,
}
FAMILIES: tuple[str, ...] = tuple(FAMILY_PARTS)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _randomise(model: Any) -> None:
    """Weights scaled by fan-in, and no gate left at zero (Mllama's would leave the images out)."""
    import torch

    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("gate"):
                weight.fill_(1.0)
            elif id(weight) in embeddings:
                weight.normal_(0.0, 0.5)
            elif weight.dim() >= 2:
                weight.normal_(0.0, 1.2 / math.sqrt(weight[0].numel()))
            elif name.endswith("bias"):
                weight.normal_(0.0, 0.1)


def _text_model(made: Checkpoint) -> Parts:
    """A language model with a chat template that has no place for an image."""
    from transformers import Qwen2Config

    tokenizer = _tokenizer(made, "<|im_end|>", {}, ("<|im_start|>",))
    tokenizer.chat_template = _chatml("")
    return Parts(Qwen2Config(**made.text(tokenizer)), tokenizer)


def _all_but(processor: Any, said: tuple[str, ...]) -> list[int]:
    tokenizer = getattr(processor, "tokenizer", processor)
    kept = {tokenizer.convert_tokens_to_ids(token) for token in said}
    return [token for token in range(len(tokenizer)) if token not in kept]


def write_checkpoint(family: str, folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A tiny random checkpoint of `family` in `folder` with its processor; `changes` are fields of Checkpoint."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    made = Checkpoint(seed=seed, **changes)
    parts = _text_model(made) if made.text_only else FAMILY_PARTS[family](made)
    if not made.chat_template:
        parts.processor.chat_template = None
    kind = AutoModelForCausalLM if made.text_only else AutoModelForImageTextToText
    with _seeded(seed):
        model = kind.from_config(parts.config)
        _randomise(model)
    if made.nan:
        model.lm_head.weight.data.fill_(math.nan)
    if made.says:
        model.generation_config.suppress_tokens = _all_but(parts.processor, made.says)
    model.save_pretrained(folder)
    parts.processor.save_pretrained(folder)
    return folder


def parameters(folder: Path) -> int:
    """Number of weights of the checkpoint in `folder`."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - not a dict
