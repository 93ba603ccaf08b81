"""In which order a window is read: what is decided where nobody asked, and windows that do not fit."""

from __future__ import annotations

from collections.abc import Sequence

MANY_PERIODS = 7
"""From so many periods in the window on, cells read it period by period unless asked otherwise."""


def chosen_order(
    order: str, segment: int | None, seasons: Sequence[int], window: int, horizon: int
) -> tuple[str, int | None]:
    """Return the order of a window, and the length of its segments or periods.

    ``auto`` takes segments where a length is given; periods where the window is a multiple of the shortest season and
    holds :data:`MANY_PERIODS`, and the horizon one; else steps.

    Args:
        order: As of the option.
        segment: The length that was asked for.
        seasons: Lengths in steps, ascending.
        window: Steps of the window.
        horizon: Target steps.

    Raises:
        ValueError: the window is no multiple of the length, or there is no length.
    """
    season = seasons[0] if seasons else None
    if order == "auto":
        long = season is not None and window % season == 0 and window >= MANY_PERIODS * season and horizon >= season
        order = "segments" if segment is not None else "periods" if long else "steps"
    if order == "steps":
        if segment is not None:
            raise ValueError(
                f"segment={segment} has no effect with order='steps'; leave it out, or read by order='segments'"
            )
        return order, None
    length = season if segment is None else segment
    if length is None:
        raise ValueError(
            f"order={order!r} needs the length of its {order}, and the series has no season; "
            f"give it: segment={_near(window)}"
        )
    check_multiple(window, length, order)
    return order, length


def check_multiple(window: int, length: int, order: str) -> None:
    """Refuse a window that is no multiple of the length of its segments or periods.

    Raises:
        ValueError: it is not.
    """
    if window % length == 0:
        return
    below, above = window // length * length, -(-window // length) * length
    windows = f"window={above}" if below == 0 else f"window={below} or window={above}"
    fitting = [own for own in range(2, window + 1) if window % own == 0]
    near = min(fitting, key=lambda own: abs(own - length), default=None)
    other = "" if near is None else f", or segment={near}"
    raise ValueError(
        f"order={order!r} needs a window that is a multiple of segment={length} steps, got window={window}; "
        f"take {windows}{other}"
    )


def _near(window: int) -> int:
    """The divisor of a window, above 1, that is nearest to its square root."""
    fitting = [own for own in range(2, window + 1) if window % own == 0]
    return min(fitting, key=lambda own: abs(own * own - window), default=2)
