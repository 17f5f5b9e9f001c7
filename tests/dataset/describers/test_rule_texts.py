from talking_points.dataset.describers.describer import PointTask
from talking_points.dataset.describers.rule_texts import RuleDescriber
from talking_points.dataset.grammar import point_facts
from talking_points.dataset.places import DIALECTS


def never():
    raise AssertionError("rules need no photo")


def test_each_level_says_its_own(person):
    facts = point_facts(person, (30.5, 40.5))
    tasks = [
        PointTask(record_id=str(seed), facts=facts, dialect=DIALECTS["paper"], relations="", seed=seed)
        for seed in range(20)
    ]
    of_object = RuleDescriber("object").describe(never, tasks)
    of_point = RuleDescriber("local").describe(never, tasks)
    assert all("person" in text for text in of_object)
    assert all("red" in text and "person" not in text for text in of_point)
    assert len(set(of_object)) > 10 and len(set(of_point)) > 1
    assert of_object == RuleDescriber("object").describe(never, tasks)
