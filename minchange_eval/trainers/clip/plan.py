"""Which sets and pairs make up the batch of a step: a pure function of seed and step, on any number of ranks.

Nothing here remembers what was drawn before, so a run that resumes at a step, or with another number of ranks, gets the
same global batches. A set never lies on two ranks (the authors' sampler of VisMin-CLIP loses an original's negatives
with more than one GPU).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minchange_eval.core.errors import DataError, UsageError

Members = Literal["all", "anchor"]
Numbers = NDArray[np.int64]


class MemberKey(NamedTuple):
    """One image and its caption.

    Attributes:
        source: of a candidate set, or a plain pair.
        number: of the set (or group) or of the pair, as the data count them from 0.
        member: its place in the set; 0 for a pair.
        is_anchor: whether the others of its set are its hard negatives; one a set, none for pairs.
    """

    source: Literal["set", "pair"]
    number: int
    member: int
    is_anchor: bool


@dataclass(frozen=True)
class StepPlan:
    """What one rank loads for one step: members of a set together, sets before pairs."""

    step: int
    members: tuple[MemberKey, ...]


class BatchPlan:
    """The batches of a run.

    Sets: an epoch has `steps_per_epoch` steps and sees each set once. It is cut into batches of at most
    `sets_per_batch` sets whose numbers differ by one at most, and each batch holds each subset in proportion to its
    size. With a `mix`, batches hold the subsets in proportion to their weights, and an epoch lasts until the subset
    that takes longest was seen once; sets of the others come again. No set is twice in one batch.

    Pairs: `pairs_per_batch` in every batch, none twice in an epoch of their own; the rest that fills no batch is
    another one in each epoch.

    Args:
        sizes: [sets], members of each candidate set or group; set i of the data is number i.
        subsets: [sets], the subset of each.
        pairs: number of plain pairs.
        sets_per_batch: of the global batch, over all ranks; 0 leaves sets out.
        pairs_per_batch: likewise for pairs.
        mix: subset -> weight, for every subset; 0 leaves it out. None or {}: in proportion to their sizes.
        seed: order and anchors. The same on every machine, whatever the version of numpy.
        members: `all` of a set, or its `anchor` only.

    Raises:
        UsageError: settings that do not go together or ask for more than there is.
        DataError: a set with fewer than two members.
    """

    def __init__(
        self,
        sizes: ArrayLike,
        subsets: Sequence[str],
        pairs: int,
        *,
        sets_per_batch: int,
        pairs_per_batch: int,
        mix: Mapping[str, float] | None = None,
        seed: int = 0,
        members: Members = "all",
    ) -> None:
        self._sizes: Numbers = np.asarray(sizes, dtype=np.int64)
        self.sets_per_batch, self.pairs_per_batch, self.seed, self.members = (
            sets_per_batch,
            pairs_per_batch,
            seed,
            members,
        )
        self._pairs = pairs
        if len(self._sizes) != len(subsets):
            raise ValueError(f"expected a subset for each of {len(self._sizes)} sets, got {len(subsets)}")
        self._check_numbers()
        self._fewest_sets = 0  # in a batch
        if sets_per_batch:
            self._check_sizes(subsets)
            self._plan_epoch(subsets, mix)
        if pairs_per_batch == 1 or (not pairs_per_batch and self._fewest_sets == 1 and members == "anchor"):
            raise UsageError(
                "batch plan: one pair has nothing to be told from; raise pairs_per_batch (or sets_per_batch) to 2 or "
                "more"
            )
        self._order_of_sets = lru_cache(maxsize=2)(self._shuffled_sets)
        self._order_of_pairs = lru_cache(maxsize=2)(self._shuffled_pairs)

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every set was seen; every pair where there are no sets."""
        return self._steps if self.sets_per_batch else self._pairs // self.pairs_per_batch

    def at(self, step: int, rank: int = 0, world: int = 1) -> StepPlan:
        """One rank's share of a step's batch; the shares of all ranks are the same batch for every `world`.

        Ranks get nearly as many members each (the largest set to the rank that has least), and as many pairs each but
        for one.

        Args:
            step: from 0.

        Raises:
            UsageError: more ranks than sets and pairs in the smallest batch.
        """
        if self._fewest_sets + self.pairs_per_batch < world:
            raise UsageError(
                f"batch plan: {world} ranks cannot share {self._fewest_sets} sets and {self.pairs_per_batch} pairs, "
                f"the smallest batch; raise sets_per_batch or pairs_per_batch, or use fewer ranks"
            )
        sets, pairs = self._sets_at(step), self._pairs_at(step)
        anchors = self._anchors_at(step, sets)
        shares, lightest = _dealt(self._loads(sets), world)
        mine = shares[rank]
        own_pairs = pairs[lightest.index(rank) :: world]
        keys = [
            key for number, anchor in zip(sets[mine], anchors[mine], strict=True) for key in self._set(number, anchor)
        ]
        keys += [MemberKey("pair", int(number), 0, False) for number in own_pairs]
        return StepPlan(step, tuple(keys))

    def _set(self, number: np.int64, anchor: np.int64) -> list[MemberKey]:
        chosen = [int(anchor)] if self.members == "anchor" else range(int(self._sizes[number]))
        return [MemberKey("set", int(number), member, member == anchor) for member in chosen]

    def _loads(self, sets: Numbers) -> Numbers:
        return self._sizes[sets] if self.members == "all" else np.ones(len(sets), dtype=np.int64)

    def _sets_at(self, step: int) -> Numbers:
        if not self.sets_per_batch:
            return np.empty(0, dtype=np.int64)
        epoch, batch = divmod(step, self._steps)
        turns = slice(batch * len(self._turns) // self._steps, (batch + 1) * len(self._turns) // self._steps)
        subset, turn = self._subset_of_turn[turns], self._turns[turns]
        return self._order_of_sets(epoch)[self._starts[subset] + turn % self._counts[subset]]

    def _pairs_at(self, step: int) -> Numbers:
        if not self.pairs_per_batch:
            return np.empty(0, dtype=np.int64)
        epoch, batch = divmod(step, self._pairs // self.pairs_per_batch)
        return self._order_of_pairs(epoch)[batch * self.pairs_per_batch : (batch + 1) * self.pairs_per_batch]

    def _anchors_at(self, step: int, sets: Numbers) -> Numbers:
        """One member of each set, all as likely."""
        drawn = _hashes(sets, self.seed, "anchor", step) >> np.uint64(32)
        return (drawn * self._sizes[sets].astype(np.uint64) >> np.uint64(32)).astype(np.int64)

    def _shuffled_sets(self, epoch: int) -> Numbers:
        """Set numbers by subset, shuffled inside each."""
        hashes = _hashes(np.arange(len(self._sizes)), self.seed, "sets", epoch)
        return np.lexsort((hashes, self._subset_of_set)).astype(np.int64)

    def _shuffled_pairs(self, epoch: int) -> Numbers:
        hashes = _hashes(np.arange(self._pairs), self.seed, "pairs", epoch)
        return np.argsort(hashes, kind="stable").astype(np.int64)

    def _check_numbers(self) -> None:
        sets, pairs = self.sets_per_batch, self.pairs_per_batch
        if min(sets, pairs) < 0 or not sets + pairs:
            raise UsageError(
                f"batch plan: expected sets_per_batch and pairs_per_batch of at least 0 and not both 0, "
                f"got {sets} and {pairs}"
            )
        for name, wanted, there, what in (
            ("sets_per_batch", sets, len(self._sizes), "candidate sets"),
            ("pairs_per_batch", pairs, self._pairs, "plain pairs"),
        ):
            if wanted > there:
                raise UsageError(f"batch plan: {name}={wanted}, but the data hold {there} {what}; lower it or add data")

    def _check_sizes(self, subsets: Sequence[str]) -> None:
        small = np.flatnonzero(self._sizes < 2)
        if len(small):
            first = int(small[0])
            raise DataError(
                f"candidate set {first} of subset {subsets[first]}: expected at least 2 members, got "
                f"{self._sizes[first]}; a set without negatives teaches nothing, use it as a plain pair "
                f"({len(small)} such sets)"
            )

    def _plan_epoch(self, subsets: Sequence[str], mix: Mapping[str, float] | None) -> None:
        """Fix which subset each turn of an epoch belongs to; only the sets that take the turns change with epochs."""
        names, self._subset_of_set = np.unique(np.asarray(subsets), return_inverse=True)
        self._counts: Numbers = np.bincount(self._subset_of_set, minlength=len(names)).astype(np.int64)
        self._starts: Numbers = np.cumsum(self._counts) - self._counts
        turns = self._mixed(names.tolist(), mix) if mix else self._counts
        self._steps = -(-int(turns.sum()) // self.sets_per_batch)
        self._fewest_sets = int(turns.sum()) // self._steps
        # turn j of a subset with m turns comes at (j + 1/2) / m of the epoch, so that each stretch has its share of all
        place = np.concatenate([(np.arange(count) + 0.5) / count for count in turns if count])
        order = np.argsort(place, kind="stable")
        self._subset_of_turn: Numbers = np.repeat(np.arange(len(names)), turns)[order]
        self._turns: Numbers = np.concatenate([np.arange(count) for count in turns])[order]
        self._check_no_set_comes_twice(names.tolist())

    def _mixed(self, names: Sequence[str], mix: Mapping[str, float]) -> Numbers:
        """Turns of each subset in an epoch under a mix."""
        if set(mix) != set(names) or min(mix.values()) < 0 or not sum(mix.values()):
            raise UsageError(
                f"mix: expected a weight of at least 0 for each of {', '.join(names)} (0 leaves it out), "
                f"got {dict(mix)}"
            )
        weights = np.array([mix[name] for name in names], dtype=np.float64)
        passes = max(count / weight for count, weight in zip(self._counts, weights, strict=True) if weight)
        return np.where(weights > 0, np.maximum(np.round(weights * passes), self._counts), 0).astype(np.int64)

    def _check_no_set_comes_twice(self, names: Sequence[str]) -> None:
        """A batch takes consecutive turns of a subset, so that only one with more turns than sets repeats a set."""
        ends = np.arange(1, self._steps + 1) * len(self._turns) // self._steps
        batch = np.searchsorted(ends, np.arange(len(self._turns)), side="right")
        held = np.bincount(batch * len(names) + self._subset_of_turn, minlength=self._steps * len(names))
        most = held.reshape(self._steps, len(names)).max(axis=0)
        for name, count, quota in zip(names, self._counts, most, strict=True):
            if quota > count:
                raise UsageError(
                    f"mix: a batch would hold {quota} sets of {name}, which has {count}; lower its weight or "
                    f"sets_per_batch"
                )


def _dealt(loads: Numbers, ranks: int) -> tuple[list[Numbers], list[int]]:
    """Places of the sets that each rank gets, in order; and the ranks by what they have, the lightest first.

    Largest first to the lightest: Graham 1969, doi:10.1137/0117039.
    """
    if ranks == 1:
        return [np.arange(len(loads))], [0]
    heap = [(0, rank) for rank in range(ranks)]
    shares: list[list[int]] = [[] for _ in range(ranks)]
    for place in np.argsort(-loads, kind="stable").tolist():
        load, rank = heapq.heappop(heap)
        shares[rank].append(place)
        heapq.heappush(heap, (load + int(loads[place]), rank))
    return [np.array(sorted(share), dtype=np.int64) for share in shares], [rank for _, rank in sorted(heap)]


def _hashes(numbers: ArrayLike, *names: str | int) -> NDArray[np.uint64]:
    """64 random bits for each number; hashes of other names are independent.

    SplitMix64: Steele, Lea, Flood 2014, doi:10.1145/2714064.2660195. numpy promises no order of its own shuffles
    from one version to the next.
    """
    text = "/".join(str(name) for name in names)
    key = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    mixed = np.asarray(numbers).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
