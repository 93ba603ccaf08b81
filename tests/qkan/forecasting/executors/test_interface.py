from qkan.forecasting.executors.interface import LOST, results


class Scripted:
    """Answers as it was told, and keeps what it was given."""

    room = 2

    def __init__(self, *answers):
        self.answers, self.taken = list(answers), []

    def submit(self, number, job):
        self.taken.append((number, job))

    def wait(self):
        return self.answers.pop(0)


def test_workers_have_their_next_jobs_before_a_result_is_looked_at():
    executor = Scripted([(1, "B")], [(0, "A"), (2, "C")])
    found = results(executor, ["a", "b", "c"])
    assert next(found) == (1, "B")
    assert executor.taken == [(0, "a"), (1, "b"), (2, "c")]
    assert list(found) == [(0, "A"), (2, "C")]


def test_lost_jobs_are_next(recwarn):
    executor = Scripted([(0, LOST), (1, LOST)], [(0, "A"), (1, LOST)], [(1, "B"), (2, "C")])
    assert dict(results(executor, ["a", "b", "c"])) == {0: "A", 1: "B", 2: "C"}
    assert [number for number, _ in executor.taken] == [0, 1, 0, 1, 1, 2]
    assert str(recwarn[0].message) == "b lost its worker process and is done again"


def test_no_jobs_no_results():
    assert list(results(Scripted(), [])) == []
