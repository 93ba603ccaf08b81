"""The C functions that generated files call: each is written only where it is used."""

from __future__ import annotations

HELPERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "finite": ("static int qkan_finite(qkan_real x) { return x >= -FLT_MAX && x <= FLT_MAX; } /* no for NaN */", ()),
    "single": ("static float qkan_single(qkan_real x) { return qkan_finite(x) ? (float)x : NAN; }", ("finite",)),
    "copy": (
        """static void qkan_copy(const float *from, int n, float *to)
{
    for (int i = 0; i < n; i++) to[i] = from[i];
}""",
        (),
    ),
    "affine": (
        """/* y += m x */
static void qkan_affine(const float *m, const float *x, int inputs, int outputs, float *y)
{
    for (int o = 0; o < outputs; o++) {
        float sum = 0.0f;
        for (int i = 0; i < inputs; i++) sum += m[o * inputs + i] * x[i];
        y[o] += sum;
    }
}""",
        (),
    ),
    "sigmoid": ("static float qkan_sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }", ()),
    "lstm": (
        """/* gates i, f, g, o before their activations; h and c become the next ones */
static void qkan_lstm(const float *a, int n, float *h, float *c)
{
    for (int k = 0; k < n; k++) {
        c[k] = qkan_sigmoid(a[n + k]) * c[k] + qkan_sigmoid(a[k]) * tanhf(a[2 * n + k]);
        h[k] = qkan_sigmoid(a[3 * n + k]) * tanhf(c[k]);
    }
}""",
        ("sigmoid",),
    ),
    "gru": (
        """/* gates r, z, n: parts of the input and of the state; h becomes the next one */
static void qkan_gru(const float *a, const float *b, int n, float *h)
{
    for (int k = 0; k < n; k++) {
        const float r = qkan_sigmoid(a[k] + b[k]), z = qkan_sigmoid(a[n + k] + b[n + k]);
        h[k] = (1.0f - z) * tanhf(a[2 * n + k] + r * b[2 * n + k]) + z * h[k];
    }
}""",
        ("sigmoid",),
    ),
    "waves": (
        """/* cosines and sines of 1, 2, ..., size times every input: f[k * n + i] */
static void qkan_waves(const float *x, int n, int size, float *f)
{
    for (int i = 0; i < n; i++) {
        const float c = cosf(x[i]), s = sinf(x[i]);
        float *cosine = f + i, *sine = f + size * n + i;
        cosine[0] = c;
        sine[0] = s;
        for (int k = 1; k < size; k++) {
            cosine[k * n] = c * cosine[(k - 1) * n] - s * sine[(k - 1) * n];
            sine[k * n] = c * sine[(k - 1) * n] + s * cosine[(k - 1) * n];
        }
    }
}""",
        (),
    ),
    "drawn_waves": (
        """/* cosines and sines of given frequencies: f[k * n + i] */
static void qkan_drawn_waves(const float *x, int n, const float *frequency, int size, float *f)
{
    for (int k = 0; k < size; k++)
        for (int i = 0; i < n; i++) {
            f[k * n + i] = cosf(frequency[k] * x[i]);
            f[(size + k) * n + i] = sinf(frequency[k] * x[i]);
        }
}""",
        (),
    ),
    "splines": (
        """/* cubic B-splines on equal intervals of [-radius, radius]: f[k * n + i] */
static void qkan_splines(const float *x, int n, int intervals, float radius, float *f)
{
    for (int k = 0; k < intervals + 3; k++)
        for (int i = 0; i < n; i++) {
            const float far = fabsf((x[i] + radius) * (float)intervals / (2.0f * radius) - (float)(k - 1));
            const float two = far < 2.0f ? 2.0f - far : 0.0f, one = far < 1.0f ? 1.0f - far : 0.0f;
            f[k * n + i] = (two * two * two - 4.0f * one * one * one) / 6.0f;
        }
}""",
        (),
    ),
    "chebyshev": (
        """/* T_1 ... T_size of tanh(x / radius): f[k * n + i] */
static void qkan_chebyshev(const float *x, int n, int size, float radius, float *f)
{
    for (int i = 0; i < n; i++) {
        const float t = tanhf(x[i] / radius);
        float before = 1.0f, now = t;
        for (int k = 0; k < size; k++) {
            const float next = 2.0f * t * now - before;
            f[k * n + i] = now;
            before = now;
            now = next;
        }
    }
}""",
        (),
    ),
    "rational": (
        """/* P(x) / Q(x): the coefficients of P of all inputs, then those of Q, by powers */
static void qkan_rational(const float *x, int n, const float *own, int above, int all, float *f)
{
    for (int i = 0; i < n; i++) {
        float p = 0.0f, q = 0.0f;
        for (int k = above - 1; k >= 0; k--) p = p * x[i] + own[k * n + i];
        for (int k = all - 1; k >= above; k--) q = (q + own[k * n + i]) * fabsf(x[i]);
        f[i] = p / (1.0f + q);
    }
}""",
        (),
    ),
    "spline_weights": (
        """static void qkan_spline_weights(float t, float *w)
{
    const float s = 1.0f - t;
    w[0] = s * s * s / 6.0f;
    w[1] = ((3.0f * t - 6.0f) * t * t + 4.0f) / 6.0f;
    w[2] = ((3.0f * s - 6.0f) * s * s + 4.0f) / 6.0f;
    w[3] = t * t * t / 6.0f;
}""",
        (),
    ),
    "reduced": (
        """/* an angle without whole turns; NaN beyond 8192 */
static float qkan_reduced(float x)
{
    const float turns = floorf(x * 0.159154943f);
    return fabsf(x) <= 8192.0f ? (x - turns * 6.28125f) - turns * 0.00193530718f : NAN;
}""",
        (),
    ),
    "turn": (
        """/* place of an angle in a table of one turn, and the weights of four coefficients */
static int qkan_turn(float x, int intervals, float *w)
{
    int k = 0;
    const float angle = qkan_reduced(x), u = angle * (0.159154943f * (float)intervals);
    if (angle == angle) {
        k = (int)u;
        if (k < 0) k = 0;
        if (k > intervals - 1) k = intervals - 1;
    }
    qkan_spline_weights(u - (float)k, w);
    return k;
}""",
        ("spline_weights", "reduced"),
    ),
    "table_waves": (
        """/* as qkan_waves, from a table of one turn of the sine, whose intervals are a multiple of 4 */
static void qkan_table_waves(const float *x, int n, int size, const float *table, int intervals, float *f)
{
    for (int i = 0; i < n; i++) {
        const float angle = qkan_reduced(x[i]);
        for (int k = 0; k < size; k++) {
            float w[4];
            const int at = qkan_turn((float)(k + 1) * angle, intervals, w);
            const float *sine = table + at, *cosine = table + (at + intervals / 4) % intervals;
            f[k * n + i] = w[0] * cosine[0] + w[1] * cosine[1] + w[2] * cosine[2] + w[3] * cosine[3];
            f[(size + k) * n + i] = w[0] * sine[0] + w[1] * sine[1] + w[2] * sine[2] + w[3] * sine[3];
        }
    }
}""",
        ("turn",),
    ),
    "unit": (
        """/* place in a table of [-1, 1], where hidden states are, and the weights of four coefficients */
static int qkan_unit(float x, int intervals, float *w)
{
    int k = 0;
    float u = NAN;
    if (fabsf(x) <= 1.0001f) {
        u = (x + 1.0f) * (0.5f * (float)intervals);
        k = (int)u;
        if (k > intervals - 1) k = intervals - 1;
    }
    qkan_spline_weights(u - (float)k, w);
    return k;
}""",
        ("spline_weights",),
    ),
    "edges_float": (
        """/* y += tables of all edges from one input, at place k */
static void qkan_edges(const float *table, int length, int outputs, int k, const float *w, float *y)
{
    for (int o = 0; o < outputs; o++) {
        const float *c = table + o * length + k;
        y[o] += w[0] * c[0] + w[1] * c[1] + w[2] * c[2] + w[3] * c[3];
    }
}""",
        (),
    ),
    "edges_int8": (
        """/* y += tables of all edges from one input, at place k */
static void qkan_edges8(const signed char *table, const float *step, int length, int outputs, int k, const float *w,
                        float *y)
{
    for (int o = 0; o < outputs; o++) {
        const signed char *c = table + o * length + k;
        y[o] += step[o] * (w[0] * (float)c[0] + w[1] * (float)c[1] + w[2] * (float)c[2] + w[3] * (float)c[3]);
    }
}""",
        (),
    ),
    "turn_about": (
        """/* rotate a Bloch vector about an axis */
static void qkan_rotate(float *v, int axis, float c, float s)
{
    float *p = v + (axis + 1) % 3, *q = v + (axis + 2) % 3;
    const float a = *p, b = *q;
    *p = c * a - s * b;
    *q = s * a + c * b;
}""",
        (),
    ),
    "silu": ("static float qkan_silu(float x) { return x / (1.0f + expf(-x)); }", ()),
    "gelu": ("static float qkan_gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.707106781f)); }", ()),
    "relu": ("static float qkan_relu(float x) { return x < 0.0f ? 0.0f : x; }", ()),
    "identity": ("static float qkan_identity(float x) { return x; }", ()),
}
"""By name: the C text, and the helpers that it calls."""
