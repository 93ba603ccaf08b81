"""Which engine moves a stream on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.model.packed import pack
from qkan.forecasting.streaming.general import GeneralEngine
from qkan.forecasting.streaming.lean import LeanEngine

if TYPE_CHECKING:
    from qkan.forecasting.runs.run import Run
    from qkan.forecasting.streaming.rings import Engine


def engine_of(run: Run, *, carried: bool) -> Engine:
    """Return the engine of a run: compiled where its arrays are all that there is, else its modules.

    Raises:
        ValueError: a state is to be carried, and the run cannot.
    """
    config, model = run.config, run.model
    reason = None
    try:
        packed = pack(model)
    except ValueError as error:
        reason = str(error)
    else:
        if config.trained_horizon != config.horizon:
            reason = "forecasts are fed back"
        elif carried and (packed.level not in ("none", "season") or packed.window < 2):
            raise ValueError(
                f"state='carried' needs the level season or none and a window of several steps: with level="
                f"{packed.level!r}, every value changes what all of the window is read as; leave it out, or train with "
                "level='season' or level='none'"
            )
        else:
            return LeanEngine(packed, model, np.array(run.scaler.offset), np.array(run.scaler.scale), carried=carried)
    if carried:
        raise ValueError(f"state='carried' is not for this run: {reason}; leave it out")
    return GeneralEngine(model, config, run.scaler)
