"""QKANSelector: the contract of scikit-learn, and what it selects."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from qkan import QKANSelector


@parametrize_with_checks([QKANSelector(hidden=1, reps=1, steps=2)])
def test_contract_of_scikit_learn(estimator, check) -> None:
    check(estimator)
