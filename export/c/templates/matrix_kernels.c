static float dot$suffix(const float *x, const $type *w, int n)
{
    float total = 0.0f;
    int i;
    for (i = 0; i < n; ++i) {
        total += x[i] * $weight;
    }
    return total;
}

/* out[rows][m] = x[rows][n] times the transpose of w[m][n], plus the bias unless it is a null pointer. */
static void dense$suffix(const float *x, const $type *w,$scales const float *bias, float *out, int rows, int n, int m)
{
    int row, i;
    for (row = 0; row < rows; ++row, x += n, out += m) {
        for (i = 0; i < m; ++i) {
            const float product = dot$suffix(x, w + i * n, n)$scaled;
            out[i] = bias ? product + bias[i] : product;
        }
    }
}

/* Convolution along x[width][channels] with w[m][taps][channels]; x is 0 beyond its ends, `padding` values before. */
static void convolve$suffix(const float *x, const $type *w,$scales const float *bias, float *out, int width,
                          int channels, int out_width, int m, int taps, int stride, int padding)
{
    int position, i;
    for (position = 0; position < out_width; ++position, out += m) {
        const int begin = position * stride - padding;
        const int first = begin < 0 ? -begin : 0, end = begin + taps > width ? width - begin : taps;
        for (i = 0; i < m; ++i) {
            const float product = dot$suffix(x + (begin + first) * channels, w + (i * taps + first) * channels,
                                             (end - first) * channels)$scaled;
            out[i] = bias ? product + bias[i] : product;
        }
    }
}

/* LSTM along x[steps][channels]; rows of w[4 n][channels], u[4 n][n] and bias[4 n] are the gates input, forget, cell,
 * output; clip limits the size of a cell unless it is 0. cells[5 n] is scratch memory. */
static void lstm$suffix(const float *x, const $type *w,$scales const $type *u,$u_scales const float *bias, float *out,
                      float *cells, int steps, int channels, int n, float clip)
{
    float *gates = cells + n;
    int step, i;
    for (i = 0; i < n; ++i) {
        cells[i] = 0.0f;
    }
    for (step = 0; step < steps; ++step, x += channels) {
        for (i = 0; i < 4 * n; ++i) {
            gates[i] = dot$suffix(x, w + i * channels, channels)$scaled + bias[i];
            if (step > 0) {
                gates[i] += dot$suffix(out + (step - 1) * n, u + i * n, n)$u_scaled;
            }
        }
        for (i = 0; i < n; ++i) {
            float cell = sigmoid(gates[n + i]) * cells[i] + sigmoid(gates[i]) * hyperbolic_tangent(gates[2 * n + i]);
            if (clip > 0.0f) {
                cell = cell > clip ? clip : (cell < -clip ? -clip : cell);
            }
            cells[i] = cell;
            out[step * n + i] = sigmoid(gates[3 * n + i]) * hyperbolic_tangent(cell);
        }
    }
}
