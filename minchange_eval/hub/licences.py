"""The licence of what is made of several sources: the strictest of theirs, and never a guess.

A licence here says what may be done with a copy; the order is by how much it takes away from whoever gets one:

    permissive        do as you like, keep the notice
    attribution       say whose it is
    share-alike       what is made of it carries the same licence
    non-commercial    no use for profit; nobody further down can give that right back
    no-derivatives    only unchanged copies may be passed on
    unstated          no right was given at all, so none can be passed on

What is stated in words that are no known licence counts as unstated: a person has to read it. Share-alike demands its
own licence for the whole and forbids further conditions, so two different ones, or one beside a non-commercial licence
of another kind, cannot both be kept. Creative Commons' share-alike licences allow a later version of the same.

Source: SPDX licence list 3.27; the Hub's identifiers, https://huggingface.co/docs/hub/repositories-licenses;
https://wiki.creativecommons.org/wiki/Wiki/cc_license_compatibility; the licences' own texts. This is no legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import combinations, count

from minchange_eval.core.errors import UsageError
from minchange_eval.data.parquet_layout import Manifest
from minchange_eval.data.store_card import StoreCard


class Strictness(IntEnum):
    """How much a licence takes away; the order is explained in the module's text."""

    PERMISSIVE = 0
    ATTRIBUTION = 1
    SHARE_ALIKE = 2
    NON_COMMERCIAL = 3
    NO_DERIVATIVES = 4
    UNSTATED = 5

    @property
    def shown(self) -> str:
        """In words: `share-alike`."""
        return self.name.lower().replace("_", "-")


Conditions = frozenset[Strictness]


@dataclass(frozen=True)
class Licence:
    """One licence.

    Attributes:
        spdx: identifier of the SPDX list; empty where nothing is stated, or nothing that is known.
        hub: identifier of the Hub; `unknown` where nothing is stated, `other` for what it has no name for.
        conditions: what it takes away; empty for a permissive one.
        family, version: `cc-by-sa` and 4.0; a later version may stand for an earlier one of the family.
    """

    spdx: str
    hub: str
    conditions: Conditions = frozenset()
    family: str = ""
    version: float = 0.0

    @property
    def strictness(self) -> Strictness:
        """Of its strictest condition."""
        return max(self.conditions, default=Strictness.PERMISSIVE)

    @property
    def share_alike(self) -> bool:
        """Whether what is made of it carries the same licence."""
        return Strictness.SHARE_ALIKE in self.conditions


_BY, _SA, _NC, _ND = (
    Strictness.ATTRIBUTION,
    Strictness.SHARE_ALIKE,
    Strictness.NON_COMMERCIAL,
    Strictness.NO_DERIVATIVES,
)
_PERMISSIVE = {
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
    "BSD-2-Clause": "bsd-2-clause",
    "BSD-3-Clause": "bsd-3-clause",
    "ISC": "isc",
    "CC0-1.0": "cc0-1.0",
    "Unlicense": "unlicense",
    "PDDL-1.0": "pddl",
    "CDLA-Permissive-1.0": "cdla-permissive-1.0",
    "CDLA-Permissive-2.0": "cdla-permissive-2.0",
}
_SHARE_ALIKE = {
    "ODbL-1.0": "odbl",
    "CDLA-Sharing-1.0": "cdla-sharing-1.0",
    "GPL-3.0": "gpl-3.0",
    "AGPL-3.0": "agpl-3.0",
    "GFDL-1.3": "gfdl",
}
_CREATIVE_COMMONS: Mapping[str, Conditions] = {
    "BY": frozenset({_BY}),
    "BY-SA": frozenset({_BY, _SA}),
    "BY-NC": frozenset({_BY, _NC}),
    "BY-NC-SA": frozenset({_BY, _NC, _SA}),
    "BY-ND": frozenset({_BY, _ND}),
    "BY-NC-ND": frozenset({_BY, _NC, _ND}),
}
# of Creative Commons' older licences the Hub has names for some only
_ON_THE_HUB = {
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc-by-nc-2.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0",
}


def _table() -> dict[str, Licence]:
    """Every licence by its identifiers in small letters."""
    found = [Licence(spdx, hub) for spdx, hub in _PERMISSIVE.items()]
    found += [Licence(spdx, hub, frozenset({_SA})) for spdx, hub in _SHARE_ALIKE.items()]
    found.append(Licence("ODC-By-1.0", "odc-by", frozenset({_BY})))
    for letters, conditions in _CREATIVE_COMMONS.items():
        for version in ("2.0", "2.5", "3.0", "4.0"):
            spdx = f"CC-{letters}-{version}"
            hub = spdx.lower() if spdx.lower() in _ON_THE_HUB else "other"
            found.append(Licence(spdx, hub, conditions, f"cc-{letters.lower()}", float(version)))
    return {name.lower(): licence for licence in found for name in (licence.spdx, licence.hub) if name != "other"}


LICENCES = _table()
NONE_STATED = Licence("", "unknown", frozenset({Strictness.UNSTATED}))
_IN_OTHER_WORDS = Licence("", "other", frozenset({Strictness.UNSTATED}))

# What sources state that come with no word of a licence; empty where their authors state none. No store can bear the
# name of one that states a licence: a name alone gives nobody a right.
SOURCES: Mapping[str, str] = {
    "mair-lab/vismin": "CC-BY-SA-4.0",  # VisMin's training set, as its card on the Hub states
    "med": "",
    "s-vco": "",
    "vsre": "",
}


def licence_of(stated: str) -> Licence:
    """The licence that a source states, by its SPDX or Hub identifier.

    >>> licence_of("cc-by-sa-4.0").spdx, licence_of("not stated by the authors").strictness.shown
    ('CC-BY-SA-4.0', 'unstated')
    """
    plain = stated.strip().lower()
    if not plain or plain in {"unknown", "none"} or plain.startswith("not stated"):
        return NONE_STATED
    return LICENCES.get(plain, _IN_OTHER_WORDS)


def sources_of(card: StoreCard | Manifest) -> dict[str, str]:
    """What a data set is made of, and what is stated of the licence of each.

    A card may name parts: `apache-2.0; images of COCO:` is of texts and of images, of which nothing is stated. An SPDX
    expression with AND is several licences that hold together; one with OR is for a person to choose from.

    >>> sources_of(StoreCard(name="both", licence="mit; images of MMVP: cc-by-4.0"))
    {'both': 'mit', 'both images of MMVP': 'cc-by-4.0'}
    """
    found: dict[str, str] = {}
    for part in (card.licence or SOURCES.get(card.name.lower(), "")).split(";"):
        label, colon, rest = part.partition(":")
        name, stated = (f"{card.name} {label.strip()}", rest.strip()) if colon else (card.name, part.strip())
        together = re.split(r"\s+and\s+", stated, flags=re.IGNORECASE)
        for one in together if all(map(_is_known, together)) else [stated]:
            number = next(number for number in count(1) if _numbered(name, number) not in found)
            found[_numbered(name, number)] = one
    return found


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"


def _is_known(stated: str) -> bool:
    return licence_of(stated).spdx != ""


@dataclass(frozen=True)
class Inherited:
    """The licence of what is made of some sources.

    Attributes:
        licences: the strictest; several where none of them contains the others' conditions.
        stated: source -> what it states.
        to_review: why a person has to read what is stated before anything is published; empty where nobody has to.
    """

    licences: tuple[Licence, ...]
    stated: Mapping[str, str]
    to_review: tuple[str, ...]

    @property
    def strictness(self) -> Strictness:
        """Of the strictest licence."""
        return max(licence.strictness for licence in self.licences)

    @property
    def hub(self) -> str | list[str]:
        """For a card's front matter."""
        names = list(dict.fromkeys(licence.hub for licence in self.licences))
        return names[0] if len(names) == 1 else names

    def require_reviewed(self, *, reviewed: bool) -> None:
        """Refuse to publish what no licence allows, unless a person has looked.

        Raises:
            UsageError: something is to be reviewed and was not.
        """
        if self.to_review and not reviewed:
            raise UsageError(
                f"{'; '.join(self.to_review)}; ask whoever owns it, and say --licence-reviewed once you know that you "
                "may publish it (the card will say that you have)"
            )


def inherited(sources: Mapping[str, str]) -> Inherited:
    """The strictest licence of some sources.

    Args:
        sources: name -> what it states of its licence; empty for nothing.

    Raises:
        UsageError: there are no sources, or two licences that cannot both be kept; it names both, and says why.

    >>> inherited({"a": "mit", "b": "CC-BY-SA-4.0", "c": "cc-by-4.0"}).hub
    'cc-by-sa-4.0'
    """
    if not sources:
        raise UsageError("a licence is inherited from sources, got none")
    found = {name: licence_of(stated) for name, stated in sources.items()}
    for (one, first), (other, second) in combinations(found.items(), 2):
        if reason := _conflict(first, second) or _conflict(second, first):
            raise UsageError(
                f"{one} ({first.spdx}) and {other} ({second.spdx}) cannot be published together: {reason}; publish "
                "them apart"
            )
    return Inherited(_strictest(list(found.values())), dict(sources), tuple(_reviews(found, sources)))


def _conflict(first: Licence, second: Licence) -> str:
    """Why two licences cannot both be kept, as far as the first is the reason; empty where they can."""
    if not first.share_alike or first == second or (first.family and first.family == second.family):
        return ""
    if second.share_alike:
        return f"each demands its own licence for the whole, and {first.spdx} is not {second.spdx}"
    if _ND in second.conditions:
        return f"{first.spdx} is for what is made of it, {second.spdx} allows nothing to be made of it"
    if _NC in second.conditions - first.conditions:
        return f"{first.spdx} forbids further conditions on the whole, {second.spdx} adds that it is not for profit"
    return ""


def _strictest(licences: list[Licence]) -> tuple[Licence, ...]:
    """Those that no other one contains, each once; what is unstated stands alone, as nothing can be said beside it."""
    latest: dict[str, Licence] = {}
    for licence in licences:
        key = licence.family or licence.spdx or licence.hub
        if key not in latest or latest[key].version < licence.version:
            latest[key] = licence
    unstated = tuple(licence for licence in latest.values() if licence.strictness is Strictness.UNSTATED)
    found = latest.values()
    return unstated or tuple(one for one in found if not any(one.conditions < other.conditions for other in found))


def _reviews(found: Mapping[str, Licence], sources: Mapping[str, str]) -> list[str]:
    said = []
    for name, licence in found.items():
        if licence is NONE_STATED:
            said.append(f"{name} states no licence")
        elif licence is _IN_OTHER_WORDS:
            said.append(f"{name} states {sources[name]!r}, which is no licence that is known here")
        elif _ND in licence.conditions:
            said.append(f"{name} ({licence.spdx}) may only be passed on unchanged")
    return said
