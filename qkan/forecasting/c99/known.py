"""What a forecaster knows beside its values, as C: covariates, categories, seasons, lags, and what series have of their
own."""

from __future__ import annotations

from qkan.forecasting.c99.cells import Cell, write_cell
from qkan.forecasting.c99.layers import numpy_of
from qkan.forecasting.c99.source import Source, number
from qkan.forecasting.model.build import RecurrentForecaster
from qkan.forecasting.model.parts import SeasonFeatures, harmonics


class KnownSource:
    """Writes the functions that say what is known of a step.

    Args:
        source: Takes tables and functions.
        model: What to write.
        past: Past channels beside the value.
        known: Channels of a row of ``known``: covariates and calendar features, then codes of categories.
        edges: One of :data:`qkan.forecasting.config.names.EXPORT_EDGES`.

    Attributes:
        cell: What the cell became; ``None`` for a linear forecaster.
        encoded: Numbers that a row of ``known`` and the season become.
        of_step: Numbers known of a step: those, values one season back, the position of a target.
    """

    def __init__(self, source: Source, model: RecurrentForecaster, past: int, known: int, edges: str) -> None:
        self.source, self.model, self.past, self.known_width = source, model, past, known
        self.around, self.order = model.around, model.order
        self.cell: Cell | None = None
        if model.cell is not None:
            self.cell = write_cell(source, model.cell, edges)
        self.encoded = self._write_encode()
        counted = model.decodes_steps and self.order.kind != "segments"
        self.lags = list(self.around.seasons) if self.around.seasonal_lags else []
        self.of_step = self.encoded + len(self.lags) + counted

    def _write_encode(self) -> int:
        """Write what is known of a row as numbers, and return how many they are."""
        model, lines, at = self.model, [], 0
        sizes = self.around.category_sizes
        plain = self.known_width - len(sizes)
        if plain:
            lines.append(
                f"for (int i = 0; i < {plain}; i++) x[i] = row < 0 ? 0.0f : known[row * {self.known_width} + i];"
            )
            at += plain
        if model.categories is not None:
            for place, table in enumerate(model.categories.tables):
                values = numpy_of(table)
                name, (size, width) = self.source.table(values, "numbers of a category, names by numbers"), values.shape
                code = f"(row < 0 ? 0.0f : known[row * {self.known_width} + {plain + place}])"
                lines += [
                    f"for (int i = 0; i < {width}; i++) x[{at} + i] = 0.0f;",
                    f"for (int k = 0; k < {size}; k++)",
                    f"    if ({code} == (float)k)",
                    f"        for (int i = 0; i < {width}; i++) x[{at} + i] = {name}[k * {width} + i];",
                ]
                at += width
        if model.season is not None and model.season.channels:
            lines += self._season_features(model.season, at)
            at += model.season.channels
        if at:
            text = "\n    ".join(lines)
            self.source.functions.append(
                "/* what is known of a row in advance, as the model reads it; a row below 0 holds zeros */\n"
                f"static void qkan_encode(const float *known, const int *at, int row, float *x)\n{{\n    {text}\n"
                "    (void)known, (void)at, (void)row;\n}"
            )
        return at

    def _season_features(self, season: SeasonFeatures, at: int) -> list[str]:
        lines: list[str] = []
        if season.encoding == "table":
            for place, table in enumerate(season.tables):
                name = self.source.table(numpy_of(table), f"season of {season.seasons[place]} steps")
                lines.append(f"x[{at + place}] = {name}[{_step(place, season.seasons[place])}];")
            return lines
        self._use_angle()
        angles = None if season.angles is None else self.source.table(numpy_of(season.angles), "angles of the seasons")
        counts = [int((row > 0).sum()) for row in season.frequencies]
        begin, total = 0, sum(counts)
        for place, count in enumerate(counts):
            length = season.seasons[place]
            angle = f"qkan_angle({_step(place, length)}, k + 1, {length})"
            if angles is not None:
                lines += [
                    f"for (int k = 0; k < {count}; k++) x[{at + begin} + k] = cosf({angle} + {angles}[{begin} + k]);"
                ]
            else:
                lines += [
                    f"for (int k = 0; k < {count}; k++) {{",
                    f"    x[{at + begin} + k] = sinf({angle});",
                    f"    x[{at + total + begin} + k] = cosf({angle});",
                    "}",
                ]
            begin += count
        return lines

    def _use_angle(self) -> None:
        text = (
            "/* k times the angle of step n of a season */\n"
            "static float qkan_angle(int n, int k, int season)\n{\n"
            "    return 6.28318531f * (float)((long)n * k % season) / (float)season;\n}"
        )
        if text not in self.source.functions:
            self.source.functions.append(text)

    def write_known(self, *, counted: bool) -> None:
        """Write what is known of the step behind a step of the window, and of a target step."""
        if not self.of_step:
            return
        around, context, stride = self.around, self.around.context, self.order.stride
        reads_in = number(float(self.model.reads_in.factor))
        at, begin = self.encoded, context - around.window
        behind, target = [], []
        if self.encoded:
            row = f"{begin + stride} + j"
            last = context + self.model.horizon
            behind.append(f"qkan_encode(known, at, {row} < {last} ? {row} : -1, x);")
            target.append(f"qkan_encode(known, at, {context} + t, x);")
        for season in self.lags:
            start = begin + stride - season * -(-stride // season)
            behind.append(f"x[{at}] = {reads_in} * s[{start} + j];")
            target.append(f"x[{at}] = {reads_in} * s[{context - season} + t % {season}];")
            at += 1
        if counted:
            behind.append(f"x[{at}] = 0.0f;")
            target.append(f"x[{at}] = (float)t / {float(self.model.horizon - 1):.1f}f;")
        arguments = "const float *s, const float *known, const int *at"
        for name, index, lines in (("target", "t", target), ("behind", "j", behind)):
            if name == "behind" and self.cell is None:
                continue
            text = "\n    ".join([*lines, f"(void)s, (void)known, (void)at, (void){index};"])
            self.source.functions.append(
                f"static void qkan_{name}({arguments}, int {index}, float *x)\n{{\n    {text}\n}}"
            )

    def write_mean(self) -> None:
        """Write the mean season."""
        mean = self.model.mean
        if mean is None:
            return
        features = mean.circuits
        lines = [f"float x[{features.channels}], sum = {number(numpy_of(mean.weights.bias).item())};"]
        lines += self._season_features(features, 0)
        weights = self.source.table(numpy_of(mean.weights.weight), "weights of the mean season")
        lines.append(f"for (int k = 0; k < {features.channels}; k++) sum += {weights}[k] * x[k];")
        text = "\n    ".join([*lines, "return sum;"])
        self.source.functions.append(
            f"/* the mean season */\nstatic float qkan_mean(const int *at, int row)\n{{\n    {text}\n}}"
        )

    def write_own(self) -> None:
        """What every series has of its own; behind all series the mean of them."""
        own = self.model.own
        if own is None:
            return
        cosines = numpy_of(own.weights * own.angles.cos())
        sines = numpy_of(-own.weights * own.angles.sin())
        lines = ["float sum = 0.0f;"]
        waves = cosines.shape[1]
        if waves:
            self._use_angle()
            names = [self.source.table(part, "seasons of the series, series by waves") for part in (cosines, sines)]
            begin = 0
            for place, season in enumerate(self.around.seasons):
                count = harmonics(season, self.around.season_terms)
                lines += [
                    f"for (int k = 0; k < {count}; k++) {{",
                    f"    const float angle = qkan_angle({_step(place, season)}, k + 1, {season});",
                    f"    const int i = series * {waves} + {begin} + k;",
                    f"    sum += {names[0]}[i] * cosf(angle) + {names[1]}[i] * sinf(angle);",
                    "}",
                ]
                begin += count
        text = "\n    ".join([*lines, "(void)at, (void)row, (void)series;", "return sum;"])
        self.source.functions.append(
            f"/* the season of a series */\nstatic float qkan_own_season(const int *at, int row, int series)\n"
            f"{{\n    {text}\n}}"
        )


def _step(place: int, season: int) -> str:
    """The step of a season at a row; a row below 0 holds zeros."""
    return f"(row < 0 ? 0 : (at[{place}] + row) % {season})"
