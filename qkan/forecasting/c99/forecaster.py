"""A forecaster as C: from scaled arrays to scaled forecasts, the arithmetic of ``RecurrentForecaster.forward``.

The function is written statement by statement in the order of that method. Arrays in it: ``value`` (context), ``other``
(context x past channels), ``known`` (context + horizon rows at their own times, without phases), ``at`` (the place of
the first row in every season), ``v`` the values less what is taken from them, ``s`` the same, smoothed.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from qkan.forecasting.c99.known import KnownSource
from qkan.forecasting.c99.layers import numpy_of
from qkan.forecasting.c99.source import number
from qkan.forecasting.model.parts import SMALLEST_SCALE, PeriodSkip, Skip

_POSITIONS = 4


class ForecasterSource(KnownSource):
    """Writes ``static void qkan_model(...)``; arguments as of :class:`KnownSource`."""

    def write(self) -> None:
        """Write the function and those that it calls."""
        source, around = self.source, self.around
        self.write_known(counted=self.of_step > self.encoded + len(self.lags))
        body = [
            f"float v[{around.context}];",
            "float offset = 0.0f, scale = 1.0f;",
            f"qkan_copy(value, {around.context}, v);",
            *self._taken(),
            *self._level(),
            *self._smoothed(),
            f"for (int t = 0; t < {self.model.horizon * self.model.quantiles}; t++) out[t] = 0.0f;",
            *(self._cell_lines() if self.cell is not None else []),
            *self._linear_lines(),
            *self._put_back(),
            "(void)other, (void)known, (void)at, (void)series, (void)s;",
        ]
        source.use("copy")
        text = "\n    ".join(body)
        source.functions.append(
            "/* scaled values of a window to scaled forecasts */\n"
            "static void qkan_model(const float *value, const float *other, const float *known, const int *at, "
            f"int series, float *out)\n{{\n    {text}\n}}"
        )

    def _taken(self) -> list[str]:
        """What is taken from the values before their level."""
        model, around, lines = self.model, self.around, []
        context = around.context
        if model.own is not None:
            lines.append(f"for (int j = 0; j < {context}; j++) v[j] -= qkan_own_season(at, j, series);")
            self.write_own()
        if model.mean is not None:
            self.write_mean()
            lines.append(f"for (int j = 0; j < {context}; j++) v[j] -= qkan_mean(at, j);")
        return lines

    def _level(self) -> list[str]:
        """Offset and scale of the window, and what is left of the values; then the cycle."""
        model, around = self.model, self.around
        window, context = around.window, around.context
        first = context - window
        lines: list[str] = []
        mean = f"for (int j = {first}; j < {context}; j++) offset += v[j] / {float(window):.1f}f;"
        if model.own is not None and around.level == "last":
            kept = 1 / (1 + np.exp(numpy_of(model.own.memory)))
            name = self.source.table(kept, "how much older values weigh, by series")
            lines += [
                "float weight = 1.0f, total = 0.0f;",
                f"for (int j = {context - 1}; j >= {first}; j--) {{",
                "    offset += weight * v[j];",
                "    total += weight;",
                f"    weight *= {name}[series];",
                "}",
                "offset /= total;",
            ]
        elif around.level == "last":
            lines.append(f"offset = v[{context - 1}];")
        elif around.level in ("mean", "window"):
            lines.append(mean)
        if around.level == "window":
            lines += [
                "float square = 0.0f;",
                f"for (int j = {first}; j < {context}; j++) square += (v[j] - offset) * (v[j] - offset);",
                f"scale = sqrtf(square / {float(window):.1f}f + {number(SMALLEST_SCALE**2)});",
            ]
        if around.level not in ("none", "season"):
            lines.append(f"for (int j = 0; j < {context}; j++) v[j] = (v[j] - offset) / scale;")
        if model.cycle is not None:
            length = around.seasons[-1]
            name = self.source.table(numpy_of(model.cycle), "the cycle")
            place = len(around.seasons) - 1
            self._cycle = f"{name}[(at[{place}] + {{row}}) % {length}]"
            lines.append(f"for (int j = 0; j < {context}; j++) v[j] -= {self._cycle.format(row='j')};")
        return lines

    def _smoothed(self) -> list[str]:
        smoothing, context = self.model.smoothing, self.around.context
        if smoothing is None:
            return ["const float *s = v;"]
        kernel = numpy_of(smoothing.kernel)
        if not kernel.any():
            return ["const float *s = v;"]
        half, name = smoothing.season // 2, self.source.table(kernel, "moving sum over a season")
        return [
            f"float smooth[{context}];",
            "const float *s = smooth;",
            f"for (int j = 0; j < {context}; j++) {{",
            "    smooth[j] = v[j];",
            f"    for (int k = {-half}; k <= {half}; k++)",
            f"        if (j + k >= 0 && j + k < {context}) smooth[j] += {name}[{half} + k] * v[j + k];",
            "}",
        ]

    def _cell_lines(self) -> list[str]:
        """Sequences through the cell, and what it says of the targets."""
        model, order, cell, head = self.model, self.order, self.cell, self.model.head
        if cell is None or head is None:
            return []
        self._write_step()
        width, of_past = order.width, 1 + self.past
        reads_steps = model.reads // order.stride
        inputs = width * (of_past + self.of_step) + (_POSITIONS if model.positions is not None else 0)
        targets = 1 if model.decodes_steps else order.targets
        numbers = targets * width * model.quantiles
        weight = self.source.table(numpy_of(head.weight), "head, numbers by outputs of the cell")
        bias = self.source.table(numpy_of(head.bias), "bias of the head")
        top = cell.states - (2 * cell.hidden if cell.lstm else cell.hidden)
        self.source.use("affine", "copy")
        says, q = number(float(model.says_in.factor)), model.quantiles
        start = "last" if model.decodes_steps else "state"
        lines = [f"float x[{inputs}], state[{cell.states}], y[{numbers}];"]
        walked = reads_steps - 1 if model.decodes_steps else reads_steps
        lines += [
            f"for (int p = 0; p < {order.sequences}; p++) {{",
            f"    for (int i = 0; i < {cell.states}; i++) state[i] = 0.0f;",
            f"    for (int k = 0; k < {walked}; k++) {{",
            "        qkan_read(s, other, known, at, p, k, x);",
            "        qkan_cell(x, state);",
            "    }",
        ]
        said = [
            f"qkan_copy({bias}, {numbers}, y);",
            f"qkan_affine({weight}, {start} + {top}, {cell.hidden}, {numbers}, y);",
        ]
        place = f"i * {order.stride} + {'p' if order.kind == 'periods' else 'm'}"
        said_at = f"m * {q}" if model.decodes_steps else f"(i * {width} + m) * {q}"
        taken = [
            f"for (int m = 0; m < {width}; m++)",
            f"    if ({place} < {model.horizon})",
            f"        for (int q = 0; q < {q}; q++) out[({place}) * {q} + q] += {says} * y[{said_at} + q];",
        ]
        if model.decodes_steps:
            lines += [
                f"    qkan_read(s, other, known, at, p, {reads_steps - 1}, x);",
                f"    for (int i = 0; i < {order.targets}; i++) {{",
                f"        float last[{cell.states}];",
                f"        qkan_copy(state, {cell.states}, last);",
                *(f"        {line}" for line in self._target_lines(of_past, width)),
                "        qkan_cell(x, last);",
                *(f"        {line}" for line in [*said, *taken]),
                "    }",
            ]
        else:
            lines += [
                *(f"    {line}" for line in said),
                f"    for (int i = 0; i < {order.targets}; i++)",
                *(f"        {line}" for line in taken),
            ]
        return ["{", *(f"    {line}" for line in [*lines, "}"]), "}"]

    def _target_lines(self, of_past: int, width: int) -> list[str]:
        """Put what is known of target i into the end of ``x``."""
        model, order = self.model, self.order
        lines: list[str] = []
        if self.of_step:
            place = f"i * {order.stride} + {'p' if order.kind == 'periods' else 'm'}"
            at = f"x + {width * of_past} + m * {self.of_step}"
            lines += [
                f"for (int m = 0; m < {width}; m++) {{",
                f"    float *to = {at};",
                f"    if ({place} < {model.horizon})",
                f"        qkan_target(s, known, at, {place}, to);",
                "    else",
                f"        for (int k = 0; k < {self.of_step}; k++) to[k] = 0.0f;",
                "}",
            ]
        if model.positions is not None:
            name = self.source.table(numpy_of(model.positions), "positions of the target segments")
            begin = width * (of_past + self.of_step)
            lines.append(f"qkan_copy({name} + i * {_POSITIONS}, {_POSITIONS}, x + {begin});")
        return lines

    def _write_step(self) -> None:
        """Write what the cell reads at step k of sequence p."""
        model, order, around = self.model, self.order, self.around
        begin, first, width, of_past = (
            around.context - around.window,
            around.window - model.reads,
            order.width,
            1 + self.past,
        )
        if order.kind == "periods":
            place = f"{first} + k * {order.stride} + p"
        elif order.kind == "segments":
            place = f"{first} + k * {order.stride} + m"
        else:
            place = f"{first} + k"
        lines = [
            f"for (int m = 0; m < {width}; m++) {{",
            f"    const int j = {place};",
            f"    x[m * {of_past}] = {number(float(model.reads_in.factor))} * s[{begin} + j];",
        ]
        if self.past:
            lines.append(
                f"    for (int i = 0; i < {self.past}; i++) "
                f"x[m * {of_past} + 1 + i] = other[({begin} + j) * {self.past} + i];"
            )
        if self.of_step:
            lines.append(f"    qkan_behind(s, known, at, j, x + {width * of_past} + m * {self.of_step});")
        lines.append("}")
        if model.positions is not None:
            at = width * (of_past + self.of_step)
            lines.append(f"for (int i = 0; i < {_POSITIONS}; i++) x[{at} + i] = 0.0f;")
        text = "\n    ".join([*lines, "(void)other, (void)known, (void)at, (void)p;"])
        self.source.functions.append(
            "/* what the cell reads at step k of sequence p */\n"
            "static void qkan_read(const float *s, const float *other, const float *known, const int *at, int p, "
            f"int k, float *x)\n{{\n    {text}\n}}"
        )

    def _linear_lines(self) -> list[str]:
        """Linear maps beside the cell: of the window, of the newest period, of what is known of a target step."""
        model, around = self.model, self.around
        begin = around.context - around.window
        lines: list[str] = []
        if isinstance(model.skip, PeriodSkip):
            lines += self._period_skip(model.skip, begin)
        elif model.skip is not None:
            lines += self._skip(model.skip, f"s + {begin}", around.window, "map of the window")
        if model.newest is not None:
            lines += self._skip(
                model.newest, f"v + {around.context - around.stride}", around.stride, "map of the newest period"
            )
        if model.known is not None and self.of_step and bool(model.known.weight.any()):
            self.source.use("affine")
            name = self.source.table(numpy_of(model.known.weight), "map of what is known")
            lines += [
                f"for (int t = 0; t < {model.horizon}; t++) {{",
                f"    float x[{self.of_step}];",
                "    qkan_target(s, known, at, t, x);",
                f"    qkan_affine({name}, x, {self.of_step}, {model.quantiles}, out + t * {model.quantiles});",
                "}",
            ]
        return lines

    def _skip(self, skip: Skip, values: str, steps: int, what: str) -> list[str]:
        horizon, quantiles = self.model.horizon, self.model.quantiles
        self.source.use("affine")
        patterns = numpy_of(skip.patterns.weight)
        rank = len(patterns)
        lines = [
            f"float z[{rank}] = {{0.0f}};",
            f"qkan_affine({self.source.table(patterns, what)}, {values}, {steps}, {rank}, z);",
        ]
        said = "z"
        if isinstance(skip.courses, nn.Linear):
            name = self.source.table(numpy_of(skip.courses.weight), f"{what}: courses over the target steps")
            lines += [f"float y[{horizon}] = {{0.0f}};", f"qkan_affine({name}, z, {rank}, {horizon}, y);"]
            said = "y"
        lines += [
            f"for (int t = 0; t < {horizon}; t++)",
            f"    for (int q = 0; q < {quantiles}; q++) out[t * {quantiles} + q] += {said}[t];",
        ]
        return ["{", *(f"    {line}" for line in lines), "}"]

    def _period_skip(self, skip: PeriodSkip, begin: int) -> list[str]:
        weight, stride, quantiles = numpy_of(skip.periods.weight), self.order.stride, self.model.quantiles
        name, steps = self.source.table(weight, "map of the periods, targets by periods"), weight.shape[1]
        return [
            f"for (int t = 0; t < {self.model.horizon}; t++) {{",
            "    float sum = 0.0f;",
            f"    for (int k = 0; k < {steps}; k++)",
            f"        sum += {name}[t / {stride} * {steps} + k] * s[{begin} + k * {stride} + t % {stride}];",
            f"    for (int q = 0; q < {quantiles}; q++) out[t * {quantiles} + q] += sum;",
            "}",
        ]

    def _put_back(self) -> list[str]:
        """What was taken from the values, put back on the forecast; the gate."""
        model, around = self.model, self.around
        quantiles, context = model.quantiles, around.context
        added: list[str] = []
        factor = "1.0f"
        if model.own is not None:
            name = self.source.table(np.exp(numpy_of(model.own.amplitude)), "amplitudes of the series")
            factor = f"{name}[series]"
        if model.cycle is not None:
            added.append(self._cycle.format(row=f"{context} + t"))
        lines = [
            f"for (int t = 0; t < {model.horizon}; t++) {{",
            "    float more = 0.0f;",
        ]
        if model.mean is not None:
            lines.append(f"    more += qkan_mean(at, {context} + t);")
        if model.own is not None:
            lines.append(f"    more += qkan_own_season(at, {context} + t, series);")
        inner = f"out[t * {quantiles} + q] * {factor}" + "".join(f" + {one}" for one in added)
        lines += [
            f"    for (int q = 0; q < {quantiles}; q++)",
            f"        out[t * {quantiles} + q] = ({inner}) * scale + offset + more;",
        ]
        if model.gate is not None and float(model.gate) != 1.0:
            shut = number(1 - float(model.gate))
            lines += [
                f"    const float change = {shut} * (value[{context - 1}] - out[t * {quantiles} + {quantiles // 2}]);",
                f"    for (int q = 0; q < {quantiles}; q++) out[t * {quantiles} + q] += change;",
            ]
        return [*lines, "}"]
