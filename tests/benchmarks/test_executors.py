"""The measurement of executors trains what it says."""

from benchmarks.executors import measure


def test_24_trials_are_measured() -> None:
    found = measure("processes", "damped-shm", epochs=1, workers=1)
    assert found["trials"] == len(found["found"]) == 24
    assert len({(size, lr) for size, lr, *_ in found["found"]}) == 24
    assert found["own"] < found["seconds"]
