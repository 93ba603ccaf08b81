"""What forecasters were made with, under the names by which scikit-learn's tools ask for it."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any, TypeVar

_Own = TypeVar("_Own", bound="Parameters")


class Parameters:
    """Options of a constructor as they were given, so that ``sklearn.base.clone`` makes an unfitted copy.

    Options that were left out have no entry: what they become may depend on the data.
    """

    _params: dict[str, Any]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the options that this forecaster was made with, by name; those that were left out are not among them.

        Args:
            deep: Has no effect, since no option is itself an estimator.
        """
        return dict(self._params)

    def set_params(self: _Own, **params: Any) -> _Own:
        """Change options, or set some that were left out; the forecaster is then as new, so not fitted.

        Returns:
            The forecaster itself. An option that is refused leaves it as it was.

        Raises:
            TypeError, ValueError: as the constructor.
        """
        make: Any = type(self)
        if params:
            self.__dict__ = make(**{**self._params, **params}).__dict__
        return self

    def __repr__(self) -> str:
        given = {name: value for name, value in self._params.items() if value is not None}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def chosen(config: Any, names: Iterable[str], always: Container[str]) -> dict[str, Any]:
    """Return the options among ``names`` that are not the defaults of a configuration's class, or are in ``always``."""
    values = {name: getattr(config, name) for name in names}
    return {name: own for name, own in values.items() if name in always or own != getattr(type(config), name)}
