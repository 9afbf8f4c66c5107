"""Replies in words: always the likeliest token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minchange_eval.model_adapters.multi_image.chat_prompts import Row
from minchange_eval.model_adapters.multi_image.language_model import LanguageModel, State
from minchange_eval.model_adapters.multi_image.questions import Found, Unanswered

if TYPE_CHECKING:
    import torch

# what else may change a greedy reply, and the values with which it does not
_LEFT_OUT: dict[str, tuple[object, ...]] = {
    "no_repeat_ngram_size": (0,),
    "bad_words_ids": ([],),
    "begin_suppress_tokens": ([],),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "sequence_bias": ({}, []),
    "exponential_decay_length_penalty": (),
    "stop_strings": ([], ""),
    "guidance_scale": (1, 1.0),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "num_beams": (1,),
}
NOT_FINITE = Unanswered("the model's logits are not finite")


class Greedy:
    """Writes replies as `generate(do_sample=False)` of transformers does, from any state.

    Args:
        net: the model; what its generation_config says of ends, repetition and suppressed tokens holds here too.
        tokenizer: its own.

    Attributes:
        left_out: what else it says that would change a greedy reply.
    """

    def __init__(self, net: Any, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        config = net.generation_config
        ends = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
        self.ends = set(ends if isinstance(ends, (list, tuple)) else [] if ends is None else [ends])
        self.penalty = float(config.repetition_penalty or 1.0)
        self.suppressed = list(config.suppress_tokens or ())
        said = {name: getattr(config, name, None) for name in _LEFT_OUT}
        self.left_out = [name for name, value in said.items() if value is not None and value not in _LEFT_OUT[name]]

    def replies(
        self, model: LanguageModel, state: State, rows: Sequence[Row], most: Sequence[int], until: Sequence[str]
    ) -> list[Found]:
        """The reply to each row.

        Args:
            state: the rows' own, with their cache.
            most: per row, the most tokens of a reply.
            until: texts that end a reply, and are no part of it.
        """
        written: list[list[int]] = [[] for _ in rows]
        found: list[Found | None] = [None] * len(rows)
        while True:
            tokens = self._likeliest(state, rows, written)
            finite = state.logits[:, -1].float().amax(dim=-1).isfinite().tolist()
            for number, token in enumerate(tokens.tolist()):
                if found[number] is None:
                    found[number] = self._ended(written[number], token, most[number], until, finite[number])
            if all(reply is not None for reply in found):
                return [reply for reply in found if reply is not None]
            state = model.step(state, tokens, rows)

    def _ended(self, written: list[int], token: int, most: int, until: Sequence[str], finite: bool) -> Found | None:
        """Take one more token; the reply, where it is at its end."""
        if not finite:
            return NOT_FINITE
        if token in self.ends:
            return self.text(written, until)
        written.append(token)
        return self.text(written, until) if len(written) >= most or self.cut(written, until) else None

    def cut(self, tokens: Sequence[int], until: Sequence[str]) -> bool:
        """Whether one of the texts that end a reply is in it."""
        return bool(until) and self.text(tokens, until) != self.text(tokens, ())

    def text(self, tokens: Sequence[int], until: Sequence[str]) -> str:
        """Tokens as words, up to the first of the texts that end a reply."""
        text = str(self._tokenizer.decode(tokens, skip_special_tokens=True))
        return min((text.split(end, 1)[0] for end in until), key=len, default=text)

    def _likeliest(self, state: State, rows: Sequence[Row], written: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch

        logits = state.logits[:, -1].float()
        if self.penalty != 1.0:
            for number, row in enumerate(rows):
                seen = torch.tensor([*row.ids.tolist(), *written[number]], device=logits.device)
                own = logits[number, seen]
                logits[number, seen] = torch.where(own < 0, own * self.penalty, own / self.penalty)
        if self.suppressed:
            logits[:, self.suppressed] = -torch.inf
        return logits.argmax(dim=-1)
