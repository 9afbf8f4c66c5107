"""Models of which nothing can be reused: one prompt at a time, fed as the processor gives it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from minchange_eval.model_adapters.multi_image.chat_prompts import ChatPrompts, ReplyTokens
from minchange_eval.model_adapters.multi_image.checkpoint import Loaded
from minchange_eval.model_adapters.multi_image.greedy import NOT_FINITE, Greedy
from minchange_eval.model_adapters.multi_image.memory import the_last_try
from minchange_eval.model_adapters.multi_image.questions import Found, Prompted, Question, Unanswered


class PlainAnswering:
    """Answers documents with a loaded model, each distinct prompt of a document once.

    Args:
        loaded: the model.
        prompts: makes what it is fed with.
        words: whether replies in words are wanted.

    Attributes:
        batch_size: 1.
        work: what was computed, and what was not.
    """

    batch_size = 1

    def __init__(self, loaded: Loaded, prompts: ChatPrompts, *, words: bool) -> None:
        self._net, self._tokenizer, self._prompts, self._words = loaded.net, loaded.tokenizer, prompts, words
        self._context = loaded.context
        self._greedy = Greedy(loaded.net, loaded.tokenizer)
        self.work = {"prompt_tokens_computed": 0, "prompt_tokens_reused": 0, "images_encoded": 0, "image_places": 0}

    def answers(self, documents: Iterable[Sequence[Question]]) -> Iterator[dict[str, str]]:
        """The answers of each document.

        Raises:
            ModelError: out of memory.
        """
        for questions in documents:
            known: dict[object, Found] = {}
            answers = {}
            for question in questions:
                ask = question.ask
                keys = [
                    (prompt.turn, prompt.reply, prompt.words, ask.max_new_tokens, ask.until)
                    for prompt in question.prompts
                ]
                for key, prompt in zip(keys, question.prompts, strict=True):
                    if key not in known:
                        with the_last_try():
                            known[key] = prompt.reduced(self._found(prompt, ask.max_new_tokens, ask.until))
                answers[ask.key] = question.write([known[key] for key in keys])
            yield answers

    def log_probabilities(self, prompt: Prompted) -> Any:
        """What could come next, [vocabulary], or the reply's tokens, [tokens], as log-probabilities."""
        import torch

        inputs, targets = self._inputs(prompt)
        logits = self._net(**inputs, use_cache=False, logits_to_keep=max(1, len(targets))).logits[0].float()
        values = torch.log_softmax(logits, dim=-1)
        if targets:
            values = values.gather(1, torch.tensor(targets, device=values.device)[:, None])
        return values.reshape(-1).cpu().numpy()

    def _found(self, prompt: Prompted, most: int, until: Sequence[str]) -> Found:
        inputs, targets = self._inputs(prompt)
        tokens = inputs["input_ids"].shape[1]
        if tokens >= self._context:
            return Unanswered(f"the prompt has {tokens} tokens, the model's context {self._context}")
        if prompt.reply is not None and not targets:
            return Unanswered("an option has no token that could be scored")
        images = sum(not isinstance(part, str) for part in prompt.parts)
        self.work["images_encoded"] += images
        self.work["image_places"] += images
        self.work["prompt_tokens_computed"] += tokens
        if not self._words:
            found: Found = self.log_probabilities(prompt)
            return found
        return self._replied(inputs, min(most, self._context - tokens), until)

    def _replied(self, inputs: dict[str, Any], most: int, until: Sequence[str]) -> Found:
        """The reply by the model's own generation, with what `Greedy` reads of its generation_config and no more."""
        from transformers import GenerationConfig, StoppingCriteriaList

        greedy, tokens = self._greedy, inputs["input_ids"].shape[1]
        pad = self._tokenizer.pad_token_id
        said = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=most,
            eos_token_id=sorted(greedy.ends) or None,
            pad_token_id=self._tokenizer.eos_token_id if pad is None else pad,
            repetition_penalty=greedy.penalty,
            suppress_tokens=greedy.suppressed or None,
            output_logits=True,
            return_dict_in_generate=True,
        )
        cut = StoppingCriteriaList([partial(_cut, greedy, tokens, until)])
        own = self._net.generation_config  # what the given one leaves open is filled up from the model's
        self._net.generation_config = said
        try:
            output = self._net.generate(**inputs, generation_config=said, stopping_criteria=cut)
        finally:
            self._net.generation_config = own
        if not all(step.isfinite().any() for step in output.logits):
            return NOT_FINITE
        written = output.sequences[0, tokens:].tolist()
        return greedy.text([token for token in written if token not in greedy.ends], until)

    def _inputs(self, prompt: Prompted) -> tuple[dict[str, Any], tuple[int, ...]]:
        """What the model is fed with, and the tokens of the reply."""
        given = self._prompts.whole(prompt.parts, prompt.opening)
        targets: tuple[int, ...] = ()
        if prompt.reply is not None:
            text = self._prompts.text(prompt.parts) + prompt.opening
            reply = self._prompts.reply(prompt.reply, text)
            targets = reply.targets
            tokens = given["input_ids"].shape[1]
            given = {name: _longer(name, values, tokens, reply) for name, values in given.items()}
        placed = {}
        for name, values in given.items():
            dtype = self._net.dtype if values.is_floating_point() else None
            placed[name] = values.to(self._net.device, dtype)
        return placed, targets


def _cut(greedy: Greedy, start: int, until: Sequence[str], sequences: Any, *_: Any, **__: Any) -> Any:
    """Whether the one reply is cut by now, [1]."""
    import torch

    return torch.tensor([greedy.cut(sequences[0, start:].tolist(), until)], device=sequences.device)


def _longer(name: str, values: Any, tokens: int, reply: ReplyTokens) -> Any:
    """An input with all but the last token of a reply behind it; what has no entry a token stays as it is."""
    import torch

    if values.dim() < 2 or values.shape[1] != tokens or values.is_floating_point():
        return values
    more = max(0, len(reply.targets) - 1)
    values = values[:, : tokens - len(reply.merged)]
    if name == "input_ids":
        behind = torch.tensor([reply.targets[:-1]], dtype=values.dtype)
    elif name.endswith("type_ids"):
        behind = torch.zeros_like(values[:, :1]).expand(-1, more)
    else:  # a mask goes on as it ended
        behind = values[:, -1:].expand(-1, more, *values.shape[2:])
    return torch.cat([values, behind], dim=1)
