"""Every data set that `prepare` knows: the official releases, and those that generators register.

A generator registers a name in the entry-point group `minchange_eval.datasets`; its target is a callable without
arguments that returns a `Release`. Names are known without loading a generator.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from minchange_eval.core.errors import UsageError
from minchange_eval.data.release import Release
from minchange_eval.data.releases import med, spec, vismin, vismin_train, vsr

ENTRY_POINT_GROUP = "minchange_eval.datasets"

OFFICIAL: dict[str, Callable[[], Release]] = {
    "spec": spec.release,
    "vismin": vismin.release,
    "vismin_train": vismin_train.release,
    "med": med.med,
    "med_real": med.med_real,
    "vsr": vsr.release,
}


def generated() -> dict[str, EntryPoint]:
    """Registered generated data sets by name; an official name cannot be taken over."""
    found = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {name: point for name, point in sorted(found.items()) if name not in OFFICIAL}


def find_release(name: str) -> Release:
    """The release of that name.

    Raises:
        UsageError: there is none; the message names the nearest ones.
    """
    if name in OFFICIAL:
        return OFFICIAL[name]()
    others = generated()
    if name in others:
        release: Release = others[name].load()()
        return release
    raise UsageError(f"no data set {name!r}{did_you_mean(name, [*OFFICIAL, *others])}")


def is_release(name: str) -> bool:
    """Whether an official or registered data set has that name; loads no generator."""
    return name in OFFICIAL or name in generated()


def known_releases() -> dict[str, Release]:
    """Every release by name, the official ones first; loads the generators."""
    return {name: find_release(name) for name in [*OFFICIAL, *generated()]}


def did_you_mean(name: str, known: list[str]) -> str:
    """The end of a message about a wrong name."""
    near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(known)}"
