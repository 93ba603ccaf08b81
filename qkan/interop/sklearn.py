"""A scikit-learn feature selector that fits a QKAN and keeps the inputs that matter to it."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kan.importance import METHODS
from qkan.kan.network import QKAN
from qkan.layers.qkan_layer import QKANLayer

if find_spec("sklearn") is None:
    raise ModuleNotFoundError(
        "scikit-learn is not installed, and QKANSelector needs it: pip install 'qkan-seq[sklearn]'", name="sklearn"
    )

from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

TASKS = ("auto", "regression", "classification")


class QKANSelector(SelectorMixin, BaseEstimator):
    """Select features by their importance to a QKAN [features, hidden, outputs] that is fitted to standardised data.

    Regression minimises the mean squared error of standardised targets, classification the cross-entropy.

    Args:
        n_features_to_select: how many to keep: a number, a share in (0, 1), or None for half of them. Of equally
            important features the first ones are kept.
        threshold: keep the features of at least this importance instead: a number, ``"mean"`` or ``"median"``.
        method: ``"l1"``, ``"l2"``, ``"sensitivity"`` or ``"knockout"``; see
            :func:`qkan.kan.importance.feature_importance`. The defaults of ``method`` and ``l1`` are those that
            ``python -m benchmarks.feature_selection`` finds right most often.
        task: ``"regression"``, ``"classification"``, or ``"auto"``: floating-point targets are numbers, others classes.
        hidden, reps: size of the hidden layer and repetitions of its circuits.
        steps, optimizer, lr, batch_size, l1, entropy: as of :func:`qkan.kan.fitting.fit`.
        random_state: an int, a ``numpy.random.RandomState`` or None; draws the initial weights and the batches.

    Attributes:
        feature_importances_: (features,), of the standardised features.
        support_: (features,), whether a feature is kept.
        network_: the fitted :class:`qkan.QKAN`, float64, on the CPU.
        history_: the :class:`qkan.kan.fit_history.FitHistory` of the fit.
        classes_: the distinct targets, after a classification.

    Examples:
        >>> import numpy as np
        >>> from qkan import QKANSelector
        >>> x = np.random.default_rng(0).uniform(-1, 1, (60, 3))
        >>> selector = QKANSelector(1, steps=5, random_state=0).fit(x, x[:, 0])
        >>> int(selector.get_support().sum())
        1
    """

    def __init__(
        self,
        n_features_to_select: float | None = None,
        *,
        threshold: float | str | None = None,
        method: str = "knockout",
        task: str = "auto",
        hidden: int = 5,
        reps: int = 2,
        steps: int | tuple[int, int] = 100,
        optimizer: str = "adam+lbfgs",
        lr: float | None = None,
        batch_size: int | None = None,
        l1: float = 0.01,
        entropy: float = 0.0,
        random_state: Any = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.threshold = threshold
        self.method = method
        self.task = task
        self.hidden = hidden
        self.reps = reps
        self.steps = steps
        self.optimizer = optimizer
        self.lr = lr
        self.batch_size = batch_size
        self.l1 = l1
        self.entropy = entropy
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> QKANSelector:
        """Fit the network and choose the features.

        Args:
            X: (samples, features), two or more samples of finite numbers.
            y: (samples,), or (samples, outputs) for a regression of several targets.

        Returns:
            the selector.

        Raises:
            ValueError, TypeError: other data, or a parameter outside what the class lists.
            FloatingPointError: a loss that is not finite.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, ensure_min_samples=2)
        self._check_choice(X.shape[1])
        generator = torch.Generator().manual_seed(int(check_random_state(self.random_state).randint(2**31)))
        inputs = torch.from_numpy(StandardScaler().fit_transform(X))
        targets, outputs, loss = self._targets(y)
        sizes = pairwise([X.shape[1], self.hidden, outputs])  # a layer's own defaults: whole frequencies and a base
        self.network_ = QKAN.from_layers(
            QKANLayer(*size, reps=self.reps, generator=generator, dtype=torch.float64) for size in sizes
        )
        self.history_ = self.network_.fit(
            inputs,
            targets,
            optimizer=self.optimizer,
            steps=self.steps,
            lr=self.lr,
            batch_size=self.batch_size,
            loss=loss,
            l1=self.l1,
            entropy=self.entropy,
            generator=generator,
        )
        known = targets if self.method == "knockout" else None
        scores = self.network_.feature_importance(inputs, known, method=self.method, loss=loss)
        self.feature_importances_ = scores.numpy()
        self.support_ = self._choose(self.feature_importances_)
        return self

    def _targets(self, y: np.ndarray) -> tuple[Tensor, int, Any]:
        """Targets of the network, its number of outputs, and its loss."""
        if self.task == "regression" or (self.task == "auto" and y.dtype.kind == "f"):
            columns = y.reshape(len(y), -1).astype(np.float64)
            return torch.from_numpy(StandardScaler().fit_transform(columns)), columns.shape[1], "mse"
        if y.ndim > 1 and y.shape[1] > 1:
            raise ValueError(
                f"y of shape {y.shape} with dtype {y.dtype} has several columns of classes, but classification takes "
                "one; for numbers set task='regression'"
            )
        self.classes_, codes = np.unique(y.ravel(), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds 1 class, {self.classes_.tolist()[0]!r}; classification needs two or more")
        return torch.from_numpy(codes.astype(np.int64)), len(self.classes_), F.cross_entropy

    def _check_choice(self, features: int) -> None:
        for name, value, known in (("method", self.method, METHODS), ("task", self.task, TASKS)):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; use one of {', '.join(known)}")
        count, threshold = self.n_features_to_select, self.threshold
        if threshold is not None:
            if count is not None:
                raise ValueError(
                    f"n_features_to_select {count} and threshold {threshold!r} exclude each other; give one"
                )
            number = isinstance(threshold, Real) and not isinstance(threshold, bool) and np.isfinite(threshold)
            if not number and (not isinstance(threshold, str) or threshold not in ("mean", "median")):
                raise ValueError(f"threshold {threshold!r} must be a finite number, 'mean' or 'median'")
            return
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if whole and not 1 <= count <= features:  # type: ignore[operator]
            raise ValueError(f"n_features_to_select {count} is outside [1, {features}], the number of features of X")
        if count is not None and not whole and not (isinstance(count, float | np.floating) and 0 < count < 1):
            raise ValueError(f"n_features_to_select {count!r} must be an int, a share in (0, 1), or None for half")

    def _choose(self, scores: np.ndarray) -> np.ndarray:
        if self.threshold is not None:
            limits = {"mean": scores.mean(), "median": np.median(scores)}
            return scores >= (limits[self.threshold] if isinstance(self.threshold, str) else self.threshold)
        count = 0.5 if self.n_features_to_select is None else self.n_features_to_select
        kept = max(1, int(count * len(scores))) if isinstance(count, float | np.floating) else count
        support = np.zeros(len(scores), dtype=bool)
        support[np.argsort(-scores, kind="stable")[:kept]] = True
        return support

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self, "support_")
        return self.support_
