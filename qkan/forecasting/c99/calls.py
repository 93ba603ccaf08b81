"""The C functions that a user calls: scaling, missing values, forecasts block by block, a stream of values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qkan.datasets.windows import CALENDAR, Scaler
from qkan.forecasting.c99.source import Source, number
from qkan.forecasting.config import TrainConfig


class Sizes(NamedTuple):
    """How many numbers a call takes.

    Attributes:
        context, horizon, block: Values, steps to forecast, and steps that the model itself forecasts.
        quantiles: Numbers of every forecast step.
        past: Past covariates.
        known: Numbers of a row of what is known in advance: covariates, calendar features, codes of categories.
        covariates: How many of them are covariates.
        masked: Whether the model reads which values were observed.
        series: How many series there are.
        seasons: Their lengths.
    """

    context: int
    horizon: int
    block: int
    quantiles: int
    past: int
    known: int
    covariates: int
    masked: bool
    series: int
    seasons: tuple[int, ...]

    @classmethod
    def of(cls, config: TrainConfig, scaler: Scaler) -> Sizes:
        """The sizes of a run."""
        covariates = len(config.future_cols) + len(config.static_cols)
        known = covariates + sum(CALENDAR[name] for name in config.calendar) + len(config.category_cols)
        return cls(
            context=config.context,
            horizon=config.horizon,
            block=config.trained_horizon,
            quantiles=len(config.quantiles),
            past=len(config.past_cols),
            known=known,
            covariates=covariates,
            masked=config.missing == "mask",
            series=len(scaler.ids),
            seasons=config.seasons,
        )

    @property
    def others(self) -> int:
        """Past channels beside the value."""
        return self.past + self.masked

    @property
    def scratch(self) -> int:
        """Numbers in arrays of a call, about."""
        rows = self.context + self.horizon
        return rows * (2 + self.others + self.known) + 2 * self.context + self.block * self.quantiles


def call_functions(source: Source, sizes: Sizes, config: TrainConfig, scaler: Scaler, *, doubles: bool) -> list[str]:
    """The texts of the functions; ``doubles`` says that values are double."""
    source.use("finite", "single")
    return [_scaling(source, sizes, config, scaler, doubles=doubles), _filled(config), _call(sizes), _stream(sizes)]


def _scaling(source: Source, sizes: Sizes, config: TrainConfig, scaler: Scaler, *, doubles: bool) -> str:
    """Functions that scale values, covariates, and forecasts back."""
    kind = "double" if doubles else "float"

    def table(name: str, numbers: np.ndarray) -> str:
        source.count(numbers.size, numbers.size * (8 if doubles else 4))
        words = ", ".join(f"{float(one):.17g}" if doubles else number(one) for one in numbers.ravel())
        return f"static const {kind} {name}[{max(numbers.size, 1)}] = {{{words or '0'}}};"

    tables = [table("qkan_offset", np.asarray(scaler.offset)), table("qkan_scale", np.asarray(scaler.scale))]
    own = [*config.past_cols, *config.future_cols, *config.static_cols]
    if own:  # by series and column
        for name, what in (("qkan_offsets", "offset"), ("qkan_scales", "scale")):
            numbers = np.array([getattr(scaler.covariates[column], what) for column in own]).T
            tables.append(table(name, numbers))
        tables.append(
            "static float qkan_covariate(qkan_real x, int series, int column)\n{\n"
            f"    const int i = series * {len(own)} + column;\n"
            "    return qkan_single((x - qkan_offsets[i]) / qkan_scales[i]);\n}"
        )
    return "\n".join(tables)


def _filled(config: TrainConfig) -> str:
    """A function that fills missing values and says which were observed."""
    treatments = {
        "refuse": "        filled[j] = values[j];",
        "zero": "        filled[j] = values[j] == values[j] ? values[j] : (qkan_real)0;",
        "mask": """        filled[j] = values[j] == values[j] ? values[j] : before;
        before = filled[j];""",
        "interpolate": """        filled[j] = values[j];
        if (values[j] == values[j]) {
            before = values[j];
            age = 0;
            continue;
        }
        int next = j + 1; /* the next one that is there */
        while (next < QKAN_CONTEXT && values[next] != values[next]) next++;
        age++;
        filled[j] = before;
        if (next < QKAN_CONTEXT)
            filled[j] += (values[next] - before) * (qkan_real)age / (qkan_real)(age + next - j);""",
    }
    tail = {
        "refuse": "    (void)before, (void)age;\n",
        "zero": "    (void)before, (void)age;\n",
        "mask": "    (void)age;\n",
    }.get(config.missing, "")
    return (
        "/* missing values filled in as the run does; before is the last one in front of them, age steps ago */\n"
        "static void qkan_fill(const qkan_real *values, qkan_real before, int age, qkan_real *filled)\n{\n"
        f"    for (int j = 0; j < QKAN_CONTEXT; j++) {{\n{treatments[config.missing]}\n    }}\n{tail}}}"
    )


def _call(sizes: Sizes) -> str:
    """The function that scales, forecasts block by block, and scales back."""
    text = "\n    ".join([*_scaled(sizes), *_blocks(sizes)])
    return (
        "static int qkan_forecast(const qkan_real *values, const qkan_real *past, const qkan_real *known, long step, "
        f"int series,\n                         qkan_real before, int age, qkan_real *forecast)\n{{\n    {text}\n}}\n\n"
        "QKAN_API int qkan_predict(const qkan_real *values, const qkan_real *past, const qkan_real *known, long step, "
        "int series,\n                          qkan_real *forecast)\n{\n"
        "    return qkan_forecast(values, past, known, step, series, NAN, 0, forecast);\n}"
    )


def _scaled(sizes: Sizes) -> list[str]:
    """Statements that scale what is given, and leave where a number is not finite."""
    n, h, others, k = sizes.context, sizes.horizon, sizes.others, sizes.known
    rows, seasons, q = n + h, sizes.seasons, sizes.quantiles
    lines = [
        f"float value[{rows}], other[{max(1, rows * others)}], ahead[{max(1, rows * k)}], block[{sizes.block * q}];",
        "qkan_real filled[QKAN_CONTEXT];",
        f"int at[{max(1, len(seasons))}] = {{0}}, good = series >= 0 && series < QKAN_SERIES;",
        f"for (int i = 0; i < {h * q}; i++) forecast[i] = NAN;",
        "if (!good) return 0;",
        "qkan_fill(values, before, age, filled);",
        f"for (int j = 0; j < {n}; j++) {{",
        "    value[j] = qkan_single((filled[j] - qkan_offset[series]) / qkan_scale[series]);",
        "    good = good && qkan_finite(value[j]);",
    ]
    if sizes.masked:
        lines.append(f"    other[j * {others}] = values[j] == values[j] ? 1.0f : 0.0f;")
    if sizes.past:
        lines += [
            f"    for (int i = 0; i < {sizes.past}; i++) {{",
            f"        float *to = other + j * {others} + {int(sizes.masked)} + i;",
            f"        *to = qkan_covariate(past[j * {sizes.past} + i], series, i);",
            "        good = good && qkan_finite(*to);",
            "    }",
        ]
    lines.append("}")
    if k:
        scaled = f"i < {sizes.covariates} ? qkan_covariate(x, series, {sizes.past} + i) : qkan_single(x)"
        lines += [
            f"for (int r = 0; r < {rows}; r++)",
            f"    for (int i = 0; i < {k}; i++) {{",
            f"        const qkan_real x = known[r * {k} + i];",
            f"        ahead[r * {k} + i] = {scaled if sizes.covariates else 'qkan_single(x)'};",
            f"        good = good && qkan_finite(ahead[r * {k} + i]);",
            "    }",
        ]
    for place, season in enumerate(seasons):  # of the first value; rests of negative numbers are negative
        lines.append(f"at[{place}] = (int)((step % {season} + {season} + {season} - {(n - 1) % season}) % {season});")
    return lines


def _blocks(sizes: Sizes) -> list[str]:
    """Statements that forecast block by block, each fed back into the next one, and scale back."""
    n, h, block, q, others, k = (
        sizes.context, sizes.horizon, sizes.block, sizes.quantiles, sizes.others, sizes.known,
    )  # fmt: skip
    lines = [
        "if (!good) return 0;",
        f"for (int done = 0; done < {h}; done += {block}) {{",
        f"    qkan_model(value + done, other + done * {others}, ahead + done * {k}, at, series, block);",
        f"    for (int t = 0; t < {block}; t++) {{",
        f"        float *own = block + t * {q};",
    ]
    if q > 1:
        lines += [
            f"        for (int i = 1; i < {q}; i++) /* quantiles in order */",
            "            for (int k = i; k > 0 && own[k] < own[k - 1]; k--) {",
            "                const float other_one = own[k];",
            "                own[k] = own[k - 1];",
            "                own[k - 1] = other_one;",
            "            }",
        ]
    lines += [
        f"        for (int i = 0; i < {q}; i++) {{",
        f"            qkan_real *to = forecast + (done + t) * {q} + i;",
        "            *to = own[i] * qkan_scale[series] + qkan_offset[series];",
        "            good = good && qkan_finite(*to);",
        "        }",
        f"        const int next = {n} + done + t; /* what is fed back */",
        f"        value[next] = own[{q // 2}];",
        f"        for (int i = 0; i < {others}; i++) other[next * {others} + i] = other[(next - 1) * {others} + i];"
        if others
        else "        (void)next;",
    ]
    if sizes.masked:
        lines.append(f"        other[next * {others}] = 1.0f;")
    lines.append("    }")
    for place, season in enumerate(sizes.seasons):
        lines.append(f"    at[{place}] = (at[{place}] + {block}) % {season};")
    return [
        *lines,
        "}",
        "if (!good)",
        f"    for (int i = 0; i < {h * q}; i++) forecast[i] = NAN;",
        "(void)past, (void)known, (void)step;",
        "return good;",
    ]


def _stream(sizes: Sizes) -> str:
    """The functions that keep the window."""
    past = known = ""
    step = ["(void)past;"] if not sizes.past else []
    step += ["(void)known, (void)ahead;"] if not sizes.known else []
    if sizes.past:
        p, begin = sizes.past, (sizes.context - 1) * sizes.past
        past = (
            f"\n    for (int i = 0; i < {begin}; i++) state->past[i] = state->past[i + {p}];"
            f"\n    for (int i = 0; i < {p}; i++) state->past[{begin} + i] = past[i];"
        )
    if sizes.known:
        k, begin = sizes.known, (sizes.context - 1) * sizes.known
        known = (
            f"\n    for (int i = 0; i < {begin}; i++) state->known[i] = state->known[i + {k}];"
            f"\n    for (int i = 0; i < {k}; i++) state->known[{begin} + i] = known[i];"
            f"\n    for (int i = 0; i < {sizes.horizon * k}; i++) state->known[{begin + k} + i] = ahead[i];"
        )
    unused = "".join(f"\n    {line}" for line in step)
    fields = [("past", sizes.context * sizes.past), ("known", (sizes.context + sizes.horizon) * sizes.known)]
    empty = "".join(f"\n    for (int i = 0; i < {count}; i++) state->{name}[i] = 0;" for name, count in fields if count)
    arguments = ("state->past" if sizes.past else "(const qkan_real *)0") + ", "
    arguments += "state->known" if sizes.known else "(const qkan_real *)0"
    return f"""QKAN_API void qkan_init(qkan_state *state, long step, int series)
{{
    state->before = NAN;
    state->age = 0;
    state->count = 0;
    state->series = series;
    state->step = step;
    for (int j = 0; j < QKAN_CONTEXT; j++) state->values[j] = NAN;{empty}
}}

QKAN_API int qkan_step(qkan_state *state, qkan_real value, const qkan_real *past, const qkan_real *known,
                       const qkan_real *ahead, qkan_real *forecast)
{{
    if (state->count == QKAN_CONTEXT) {{ /* the oldest one goes */
        if (state->values[0] == state->values[0]) {{
            state->before = state->values[0];
            state->age = 0;
        }} else if (state->age < QKAN_CONTEXT) {{
            state->age++;
        }}
    }}
    for (int j = 0; j < QKAN_CONTEXT - 1; j++) state->values[j] = state->values[j + 1];
    state->values[QKAN_CONTEXT - 1] = value;{past}{known}{unused}
    if (state->count < QKAN_CONTEXT) state->count++;
    const long step = state->step;
    state->step = step < 2000000000L ? step + 1 : step;
    if (state->count < QKAN_CONTEXT) {{
        for (int i = 0; i < QKAN_HORIZON * QKAN_QUANTILES; i++) forecast[i] = NAN;
        return 0;
    }}
    return qkan_forecast(state->values, {arguments},
                         step, state->series, state->before, state->age, forecast);
}}"""
