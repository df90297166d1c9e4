static float relu(float x)
{
    return x > 0.0f ? x : 0.0f;
}

static float squared(float x)
{
    return x * x;
}

static float larger(float x, float y)
{
    return x > y ? x : y;
}

static float smaller(float x, float y)
{
    return x < y ? x : y;
}

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* tanhf alone would add some 800 bytes of flash. */
static float hyperbolic_tangent(float x)
{
    return 1.0f - 2.0f / (1.0f + expf(2.0f * x));
}

/* out[outer][inner] = factor times the sum of x[outer][count][inner] over count. */
static void sum(const float *x, float *out, int outer, int count, int inner, float factor)
{
    int row, column, at;
    for (row = 0; row < outer; ++row) {
        for (column = 0; column < inner; ++column) {
            float total = 0.0f;
            for (at = 0; at < count; ++at) {
                total += x[(row * count + at) * inner + column];
            }
            out[row * inner + column] = total * factor;
        }
    }
}

/* out[outer][inner] = the largest (sign 1) or smallest (sign -1) of x[outer][count][inner] over count. */
static void extreme(const float *x, float *out, int outer, int count, int inner, float sign)
{
    int row, column, at;
    for (row = 0; row < outer; ++row) {
        for (column = 0; column < inner; ++column) {
            float found = x[row * count * inner + column];
            for (at = 1; at < count; ++at) {
                const float value = x[(row * count + at) * inner + column];
                found = sign * value > sign * found ? value : found;
            }
            out[row * inner + column] = found;
        }
    }
}

/* Softmax of each row of x[rows][n]. */
static void softmax(const float *x, float *out, int rows, int n)
{
    int row, i;
    for (row = 0; row < rows; ++row, x += n, out += n) {
        float highest = x[0], total = 0.0f;
        for (i = 1; i < n; ++i) {
            highest = x[i] > highest ? x[i] : highest;
        }
        for (i = 0; i < n; ++i) {
            out[i] = expf(x[i] - highest);
            total += out[i];
        }
        for (i = 0; i < n; ++i) {
            out[i] /= total;
        }
    }
}

/* Copy rows x columns values; neighbours in a column and in a row are this many values apart. */
static void copy(const float *x, float *out, int rows, int columns, int x_row, int x_column, int out_row, int out_column)
{
    int row, column;
    for (row = 0; row < rows; ++row) {
        for (column = 0; column < columns; ++column) {
            out[row * out_row + column * out_column] = x[row * x_row + column * x_column];
        }
    }
}

static void gather(const float *x, const uint16_t *positions, float *out, int n)
{
    int i;
    for (i = 0; i < n; ++i) {
        out[i] = x[positions[i]];
    }
}
