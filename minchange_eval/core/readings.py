"""Which answers are right under a paper's own reading of them, where it differs from ours.

Sources: SPEC, arXiv:2312.00081; VisMin, arXiv:2407.16772; MED, arXiv:2506.07227.
"""

from __future__ import annotations

from typing import Literal

from minchange_eval.core.answers import Answer, med_letter, vismin_matches
from minchange_eval.core.outcomes import QueryOutcome
from minchange_eval.core.prompts import LETTERS, ORDINALS
from minchange_eval.core.queries import Direction
from minchange_eval.core.scores import verdict

Protocol = Literal["ours", "spec", "vismin", "med"]


def published_hit(outcome: QueryOutcome, protocol: Protocol) -> bool:
    """Whether a query counts as right under one reading of its answer.

    SPEC: argmax in the released order, so the lowest position wins a tie. VisMin: strictly greater scores, or its word
    matching with the keys A, B, … and First, Second. MED: the letter after `Answer:`. An answer without what a
    protocol reads (scores of pairs for SPEC) is read in our way.
    """
    if protocol == "ours":
        return outcome.hit
    if protocol == "spec" and outcome.of_pairs and outcome.tie:  # without a tie argmax reads as we do
        return verdict(Answer(scores=outcome.scores), outcome.answers, outcome.candidates).published_hit
    labels = ORDINALS if outcome.direction is Direction.TEXT_TO_IMAGE else LETTERS
    right = [label for position, label in enumerate(labels) if position in outcome.answers]
    if protocol == "vismin" and outcome.text is not None:
        return any(vismin_matches(outcome.text, label) for label in right)
    if protocol == "med" and outcome.text is not None:
        return med_letter(outcome.text) in right
    return outcome.hit
