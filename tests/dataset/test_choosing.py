from collections import Counter

import pytest

from talking_points.dataset.choosing import kept_of, pools
from talking_points.dataset.store import BuiltRecord
from tests.dataset.records import a_record


def points_of(**counts: int) -> list[BuiltRecord]:
    """Of each source so many points, nine of ten on legs."""
    return [
        a_record(
            record_id=f"{source}/{k:03d}",
            source=source,
            photo_id=f"{k:03d}",
            object_category="cat",
            part_name="leg" if k % 10 else "ear",
        )
        for source, count in sorted(counts.items())
        for k in range(count)
    ]


def written(points: list[BuiltRecord], *, rejected: set[str], records: int = 20, **changes: bool):
    """The pools and outcomes after as many rounds as are needed, and the rounds' sizes."""
    made = pools(points, **({"records": records, "equal_shares": True, "balance": True, "seed": 0} | changes))
    outcomes: dict[str, str | None] = {}
    rounds = []
    while missing := [one.record_id for pool in made for one in pool.turns(outcomes) if one.record_id not in outcomes]:
        rounds.append(len(missing))
        outcomes |= {name: "bad" if name in rejected else None for name in missing}
    return made, outcomes, rounds


def test_the_next_point_of_the_same_source_takes_the_place_of_a_rejected_one() -> None:
    points = points_of(a=40, b=40)
    rejected = {one.record_id for one in points if one.source == "a" and one.photo_id < "020"}
    made, outcomes, rounds = written(points, rejected=rejected)
    kept = kept_of(made, outcomes)
    assert Counter(name[0] for name in kept) == {"a": 10, "b": 10}
    assert not kept & rejected and rounds[0] == 20 and len(rounds) > 1
    # Nothing more than was needed was written, and of b nothing for a.
    good = [name for name, reason in outcomes.items() if reason is None]
    assert len(good) == 20


def test_a_source_that_runs_out_makes_the_others_shares_smaller() -> None:
    points = points_of(a=12, b=40)
    rejected = {one.record_id for one in points if one.source == "a" and one.photo_id < "008"}
    made, outcomes, _ = written(points, rejected=rejected)
    assert Counter(name[0] for name in kept_of(made, outcomes)) == {"a": 4, "b": 4}
    # One of which nothing is good does not take all others with it.
    made, outcomes, _ = written(points, rejected={one.record_id for one in points if one.source == "a"})
    assert Counter(name[0] for name in kept_of(made, outcomes)) == {"b": 10}


def test_the_outcome_does_not_depend_on_where_a_run_was_cut() -> None:
    points = points_of(a=40, b=40)
    rejected = {one.record_id for one in points if int(one.photo_id) % 3 == 0}
    made, outcomes, _ = written(points, rejected=rejected)
    for cut in range(0, len(outcomes), 5):
        known = dict(list(outcomes.items())[:cut])
        while missing := [one.record_id for pool in made for one in pool.turns(known) if one.record_id not in known]:
            known[missing[-1]] = "bad" if missing[-1] in rejected else None
        assert kept_of(made, known) == kept_of(made, outcomes) and known.keys() == outcomes.keys()


def test_without_equal_shares_and_without_balance() -> None:
    points = points_of(a=50, b=10)
    (pool,) = pools(points, records=40, equal_shares=False, balance=True, seed=0)
    assert Counter(one.source for one in pool.turns({})) == {"a": 30, "b": 10}
    (pool,) = pools(points, records=30, equal_shares=False, balance=False, seed=0)
    assert 3 <= Counter(one.part_name for one in pool.points[:50])["ear"] <= 6
    assert len(pool.turns({})) == 30


@pytest.mark.parametrize(("balance", "ears"), [(True, 10), (False, 2)])
def test_balance_is_over_parts(balance: bool, ears: int) -> None:
    (pool,) = pools(points_of(a=100), records=20, equal_shares=True, balance=balance, seed=0)
    found = Counter(one.part_name for one in pool.turns({}))["ear"]
    assert found == ears if balance else found < 6


def test_fewer_records_than_sources() -> None:
    made = pools(points_of(a=5, b=5, c=5), records=2, equal_shares=True, balance=True, seed=0)
    assert [pool.wanted for pool in made] == [1, 1]
    assert pools([], records=2, equal_shares=True, balance=True, seed=0) == []
