"""The words by which a reply doubts, corrects, rejects or denies what it says; one list for labels and for verdicts."""

from __future__ import annotations

# Each is a list of alternatives, to stand between word boundaries in a pattern that ignores case.
DOUBT = (
    r"unknown|ambiguous|undecided|inconclusive|alleged(?:ly)?|supposedly|insufficient|"
    r"(?:half|partly|partially) (?:right|correct|true)|"
    r"maybe|perhaps|possibly|(?:could|might|may) be|random(?:ly)?|50/50|just picking|hard to say|no clue|torn|"
    r"(?<!\bis )(?<!\bare )actually|unsure|unclear|uncertain|guess(?:ing|ed)?|hmm+|however|or so|"
    r"(?<!without )(?<!without a )(?<!no )doubt(?:s|ed|ful)?|i suppose|"
    r"not (?:(?:\w{1,20}|\d+ ?%) )?(?:sure|certain|confident)|"
    r"not (?:so|entirely|fully|quite|exactly|really|necessarily|completely)(?! ?[.,;!]|$)"
)
CORRECTION = (
    r"alternatively|then again|typo|misspoke|misclick\w{0,2}|ask again|"
    r"sorry|hold on|just kidding|edit|revised|made (?:that|it|this) up|apolog\w*|correction|i mean|i meant|"
    r"(?:scratch|strike|ignore|forget|disregard) that|oops|whoops|"
    r"my (?:mistake|bad|error)|on second thoughts?|never ?mind|let me|wait(?=[,.!…;]|$)|rather(?! than)|i was wrong|"
    r"other way (?:a?round)|back on that|that back|my (?:mind|answer)"
)
REJECTION = (
    r"bad (?:choice|match|fit)|poor|weak|questionable|dubious|suspicious|deceptive|nonsense|absurd|untenable|"
    r"unconvincing|unrelated|seems off|cross(?:ed)?(?: it)? out|set aside|skip|moving on|from consideration|strike it|"
    r"would require|would be (?:right|correct|true)|"
    r"wrong(?:ly)?|incorrect(?:ly)?|false(?:ly)?|untrue|inaccurate(?:ly)?|invalid|exclud\w{0,4}|reject\w{0,3}|"
    r"rul(?:e|es|ed|ing)(?: \w{1,20}){0,3} out|eliminat\w{0,4}|discard\w{0,3}|dismiss\w{0,3}|disqualif\w{1,4}|"
    r"unlikely|impossible|implausible|irrelevant|unsupported|nope|nah|distractors?|decoy|red herring|avoid\w{0,3}|"
    r"ignor\w{1,3}|"
    r"(?<!at )least|worst|worse|fail(?:s|ed|ing|ure)?|misread\w*|mislead\w*|misrepresent\w*|misdescri\w*|mistaken|"
    r"contradict\w*|mismatch\w*|inconsistent|far from|nowhere|lies?(?= ?[.,;!]|$)|"
    r"a lie|misconception|myth|contrary|inapplicable|out of the question|disagree\w{0,3}|by no means|no way|"
    r"hardly|scarcely|barely"
)
DENIAL = r"not|neither|nor|never|cannot|none|nothing|no|hardly|without"
SUPPOSITION = r"if|whether|unless|suppose|supposing|assuming"
