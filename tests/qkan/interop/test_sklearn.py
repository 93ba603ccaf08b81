"""QKANSelector: the contract of scikit-learn, and what it selects."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from qkan import QKANSelector


@parametrize_with_checks([QKANSelector(hidden=1, reps=1, steps=2)])
def test_contract_of_scikit_learn(estimator, check) -> None:
    check(estimator)


def data(samples: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Five features of very different scales, of which the second and the fourth matter."""
    draw = np.random.default_rng(0)
    x = draw.uniform(-1, 1, (samples, 5))
    return x * [1e3, 1e-2, 1.0, 10.0, 1e-3] + 5.0, np.sin(2 * x[:, 1]) + 0.7 * x[:, 3] ** 2


@pytest.mark.parametrize("method", ["l1", "l2", "sensitivity", "knockout"])
def test_regression_keeps_the_features_that_matter(method: str) -> None:
    x, y = data()
    selector = QKANSelector(2, method=method, hidden=2, steps=50, optimizer="lbfgs", random_state=0).fit(x, y)
    assert selector.get_support(indices=True).tolist() == [1, 3]
    assert np.array_equal(selector.transform(x), x[:, [1, 3]])
    others = selector.feature_importances_[[0, 2, 4]]
    assert others.max() < 0.5 * selector.feature_importances_[[1, 3]].min()
    assert len(selector.history_) > 1


@pytest.mark.parametrize("method", ["l2", "knockout"])
def test_classification_of_words_keeps_the_features_that_matter(method: str) -> None:
    x, y = data()
    words = np.where(y > np.quantile(y, 0.66), "high", np.where(y > np.quantile(y, 0.33), "middle", "low"))
    selector = QKANSelector(2, method=method, hidden=3, steps=40, optimizer="lbfgs", random_state=0).fit(x, words)
    assert selector.classes_.tolist() == ["high", "low", "middle"]
    assert selector.network_.width == [5, 3, 3]
    assert selector.get_support(indices=True).tolist() == [1, 3]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_default_keeps_informative_features_and_no_noise(seed: int) -> None:
    draw = np.random.default_rng(seed)
    x = draw.uniform(-1, 1, (100, 5))
    y = np.sin(3 * x[:, 3]) + x[:, 1] ** 2 + 0.3 * draw.standard_normal(100)
    selector = QKANSelector(2, random_state=seed).fit(x, y)
    assert selector.get_support(indices=True).tolist() == [1, 3]


def test_ways_to_choose() -> None:
    x, y = data(30)
    tiny = {"hidden": 1, "reps": 1, "steps": 4, "random_state": 0}
    scores = QKANSelector(**tiny).fit(x, y).feature_importances_
    order = np.argsort(-scores)
    cases = [
        ({}, order[:2]),  # half of five
        ({"n_features_to_select": 0.61}, order[:3]),
        ({"n_features_to_select": 0.01}, order[:1]),
        ({"n_features_to_select": 4}, order[:4]),
        ({"threshold": "mean"}, np.flatnonzero(scores >= scores.mean())),
        ({"threshold": "median"}, np.flatnonzero(scores >= np.median(scores))),
        ({"threshold": float(scores[order[3]])}, order[:4]),
    ]
    for options, kept in cases:
        support = QKANSelector(**options, **tiny).fit(x, y).get_support(indices=True)
        assert support.tolist() == sorted(kept.tolist()), options


def test_pipeline_clone_and_pandas_output() -> None:
    x, y = data()
    frame = pd.DataFrame(x, columns=list("abcde"))
    selector = QKANSelector(2, hidden=2, steps=50, optimizer="lbfgs", random_state=0).set_output(transform="pandas")
    pipeline = make_pipeline(selector, LinearRegression())
    copy = clone(pipeline).fit(frame, y)
    assert copy[0].get_feature_names_out().tolist() == ["b", "d"]
    assert copy[:-1].transform(frame).equals(frame[["b", "d"]])
    assert copy.score(frame, y) > 0.7
    assert not hasattr(selector, "support_")


def test_several_targets_and_the_task_of_whole_numbers() -> None:
    x, y = data(40)
    tiny = {"hidden": 1, "reps": 1, "steps": 2, "random_state": 0}
    assert QKANSelector(**tiny).fit(x, np.stack([y, -y], 1)).network_.width == [5, 1, 2]
    counts = (10 * y).astype(int)
    assert QKANSelector(**tiny).fit(x, counts).network_.width[-1] == len(np.unique(counts))
    assert QKANSelector(task="regression", **tiny).fit(x, counts).network_.width[-1] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "l3"}, "unknown method 'l3'; use one of l1, l2, sensitivity, knockout"),
        ({"task": "ranking"}, "unknown task 'ranking'; use one of auto, regression, classification"),
        ({"n_features_to_select": 6}, r"n_features_to_select 6 is outside \[1, 5\], the number of features of X"),
        ({"n_features_to_select": 1.5}, r"n_features_to_select 1.5 must be an int, a share in \(0, 1\), or None"),
        ({"threshold": "max"}, "threshold 'max' must be a finite number, 'mean' or 'median'"),
        ({"threshold": math.nan}, "threshold nan must be a finite number, 'mean' or 'median'"),
        ({"threshold": [0.1]}, r"threshold \[0.1\] must be a finite number"),
        ({"threshold": True}, "threshold True must be a finite number"),
        ({"threshold": 0.1, "n_features_to_select": 2}, "n_features_to_select 2 and threshold 0.1 exclude each other"),
        ({"l1": -1.0}, "l1 -1.0 must be a finite number of 0 or more"),
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'"),
    ],
)
def test_bad_parameters(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QKANSelector(**options).fit(*data(10))


def test_classes_that_cannot_be_told() -> None:
    x, _ = data(6)
    with pytest.raises(ValueError, match="y holds 1 class, 'a'; classification needs two or more"):
        QKANSelector().fit(x, ["a"] * 6)
    with pytest.raises(ValueError, match=r"y of shape \(6, 2\) .* set task='regression'"):
        QKANSelector().fit(x, np.ones((6, 2), dtype=int))


def test_without_scikit_learn_only_the_selector_is_missing() -> None:
    code = """
import sys
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "sklearn" else found(name, *rest)
import qkan
from qkan import *
QKAN([2, 1])
assert "sklearn" not in sys.modules
try:
    qkan.QKANSelector
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = "scikit-learn is not installed, and QKANSelector needs it: pip install 'qkan-seq[sklearn]'"
    assert (done.stdout.strip(), done.stderr) == (expected, "")
