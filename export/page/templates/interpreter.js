/* Computes the list of operators of the model (export/graph/operator_list.py describes each operator).

   A tensor is a Float32Array; true and false are 1 and 0. Each operator is a function
   (out, outShape, inputs, shapes, attributes) that fills `out`. Sums are made in double precision. */

const sizeOf = shape => shape.reduce((product, length) => product * length, 1);

/* Prepares the model: data as written by export/page/model_data.py, with the constants in base64. */
function openModel(data) {
  const bytes = Uint8Array.from(atob(data.weights), character => character.charCodeAt(0));
  // Typed arrays have the order of bytes of the device; all devices with a browser are little-endian.
  const weights = new Float32Array(bytes.buffer);
  const values = new Array(data.shapes.length);
  for (const [tensor, first] of data.constants) {
    values[tensor] = weights.subarray(first, first + sizeOf(data.shapes[tensor]));
  }
  return { ...data, values };
}

/* Computes the outputs of a scan (bands,): name -> Float32Array. */
function computeModel(model, scan) {
  const values = model.values.slice();
  values[model.input] = Float32Array.from(scan);
  for (const [name, inputs, output, attributes] of model.operators) {
    const outShape = model.shapes[output];
    const out = new Float32Array(sizeOf(outShape));
    const shapes = inputs.map(index => model.shapes[index]);
    OPERATORS[name](out, outShape, inputs.map(index => values[index]), shapes, attributes);
    values[output] = out;
  }
  return Object.fromEntries(Object.entries(model.outputs).map(([name, index]) => [name, values[index]]));
}

/* Distance between neighbours along each axis, in an array in row-major order. */
function stridesOf(shape) {
  const strides = new Array(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

/* Calls visit(position in row-major order, first + sum of index * stride) for each element of a shape. */
function eachElement(shape, strides, first, visit) {
  const index = new Array(shape.length).fill(0);
  const size = sizeOf(shape);
  let at = first;
  for (let position = 0; position < size; position++) {
    visit(position, at);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis];
      if (++index[axis] < shape[axis]) break;
      at -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

/* Copies an input to the shape of the output, broadcast as in NumPy. */
function broadcast(x, shape, outShape) {
  const size = sizeOf(outShape);
  if (x.length === size) return x;
  if (x.length === 1) return new Float32Array(size).fill(x[0]);
  const missing = outShape.length - shape.length;
  const own = stridesOf(shape);
  const strides = outShape.map((_, axis) => axis < missing || shape[axis - missing] === 1 ? 0 : own[axis - missing]);
  const copied = new Float32Array(size);
  eachElement(outShape, strides, 0, (position, at) => { copied[position] = x[at]; });
  return copied;
}

function elementwise(compute) {
  return (out, outShape, inputs, shapes) => {
    const [x, y, z] = inputs.map((input, number) => broadcast(input, shapes[number], outShape));
    for (let at = 0; at < out.length; at++) out[at] = compute(x[at], y && y[at], z && z[at]);
  };
}

/* The reduced axes are adjacent, so x is (outer, reduced, inner). */
function reduction(start, combine, finish = result => result) {
  return (out, outShape, [x], [shape], { axes }) => {
    const inner = sizeOf(shape.slice(axes[axes.length - 1] + 1));
    const reduced = sizeOf(axes.map(axis => shape[axis]));
    for (let at = 0; at < out.length; at++) {
      const first = Math.floor(at / inner) * reduced * inner + at % inner;
      let result = start;
      for (let step = 0; step < reduced; step++) result = combine(result, x[first + step * inner]);
      out[at] = finish(result, reduced);
    }
  };
}

function fullyConnected(out, outShape, [x, weights, bias], [, [units, length]]) {
  for (let row = 0; row < x.length / length; row++) {
    for (let unit = 0; unit < units; unit++) {
      let sum = bias ? bias[unit] : 0;
      for (let at = 0; at < length; at++) sum += x[row * length + at] * weights[unit * length + at];
      out[row * units + unit] = sum;
    }
  }
}

function convolution(out, outShape, [x, kernels, bias], [[, , width, channels], [count, , taps]], { stride, padding }) {
  for (let at = 0; at < outShape[2]; at++) {
    const first = at * stride - padding;
    for (let kernel = 0; kernel < count; kernel++) {
      let sum = bias ? bias[kernel] : 0;
      for (let tap = Math.max(0, -first); tap < taps && first + tap < width; tap++) {
        for (let channel = 0; channel < channels; channel++) {
          sum += x[(first + tap) * channels + channel] * kernels[(kernel * taps + tap) * channels + channel];
        }
      }
      out[at * count + kernel] = sum;
    }
  }
}

function softmax(out, outShape, [x]) {
  const length = outShape[outShape.length - 1];
  for (let first = 0; first < x.length; first += length) {
    const row = x.subarray(first, first + length);
    const largest = row.reduce((a, b) => Math.max(a, b));
    const powers = Array.from(row, value => Math.exp(value - largest));
    const sum = powers.reduce((a, b) => a + b);
    powers.forEach((power, at) => { out[first + at] = power / sum; });
  }
}

function concatenation(out, outShape, inputs, shapes, { axis }) {
  const outer = sizeOf(outShape.slice(0, axis));
  let at = 0;
  for (let row = 0; row < outer; row++) {
    for (const x of inputs) {
      const chunk = x.length / outer;
      out.set(x.subarray(row * chunk, (row + 1) * chunk), at);
      at += chunk;
    }
  }
}

function transpose(out, outShape, [x], [shape], { permutation }) {
  const strides = stridesOf(shape);
  eachElement(outShape, permutation.map(axis => strides[axis]), 0, (position, at) => { out[position] = x[at]; });
}

function gather(out, outShape, [x], [shape], { axis, indices }) {
  const inner = sizeOf(shape.slice(axis + 1));
  const outer = sizeOf(shape.slice(0, axis));
  let at = 0;
  for (let row = 0; row < outer; row++) {
    for (const index of indices) {
      const first = (row * shape[axis] + index) * inner;
      out.set(x.subarray(first, first + inner), at);
      at += inner;
    }
  }
}

function pad(out, outShape, [x], [shape], { before }) {
  const strides = stridesOf(outShape);
  const first = before.reduce((sum, count, axis) => sum + count * strides[axis], 0);
  eachElement(shape, strides, first, (position, at) => { out[at] = x[position]; });
}

function stridedSlice(out, outShape, [x], [shape], { begin, step }) {
  const strides = stridesOf(shape);
  const first = begin.reduce((sum, start, axis) => sum + start * strides[axis], 0);
  eachElement(outShape, strides.map((stride, axis) => stride * step[axis]), first, (position, at) => {
    out[position] = x[at];
  });
}

const sigmoid = x => 1 / (1 + Math.exp(-x));

/* Hochreiter & Schmidhuber (1997), with a forget gate; inputs are x, four kernels, four recurrent kernels, four biases. */
function lstm(out, outShape, [x, ...weights], [shape], { cell_clip: clip }) {
  const [steps, channels] = shape.slice(-2);
  const units = weights[8].length;
  let hidden = new Float32Array(units);
  const cell = new Float32Array(units);
  for (let step = 0; step < steps; step++) {
    const shown = new Float32Array(units);
    for (let unit = 0; unit < units; unit++) {
      const [entered, forgotten, candidate, output] = [0, 1, 2, 3].map(gate => {
        let sum = weights[8 + gate][unit];
        for (let at = 0; at < channels; at++) sum += weights[gate][unit * channels + at] * x[step * channels + at];
        for (let at = 0; at < units; at++) sum += weights[4 + gate][unit * units + at] * hidden[at];
        return sum;
      });
      const next = sigmoid(forgotten) * cell[unit] + sigmoid(entered) * Math.tanh(candidate);
      cell[unit] = clip > 0 ? Math.min(Math.max(next, -clip), clip) : next;
      shown[unit] = sigmoid(output) * Math.tanh(cell[unit]);
    }
    hidden = shown;
    out.set(hidden, step * units);
  }
}

const OPERATORS = {
  ABS: elementwise(x => Math.abs(x)),
  EXP: elementwise(x => Math.exp(x)),
  LOG: elementwise(x => Math.log(x)),
  LOGISTIC: elementwise(sigmoid),
  NEG: elementwise(x => -x),
  RELU: elementwise(x => Math.max(x, 0)),
  RSQRT: elementwise(x => 1 / Math.sqrt(x)),
  SQRT: elementwise(x => Math.sqrt(x)),
  SQUARE: elementwise(x => x * x),
  TANH: elementwise(x => Math.tanh(x)),
  ADD: elementwise((x, y) => x + y),
  DIV: elementwise((x, y) => x / y),
  MAXIMUM: elementwise((x, y) => Math.max(x, y)),
  MINIMUM: elementwise((x, y) => Math.min(x, y)),
  MUL: elementwise((x, y) => x * y),
  SQUARED_DIFFERENCE: elementwise((x, y) => (x - y) ** 2),
  SUB: elementwise((x, y) => x - y),
  GREATER: elementwise((x, y) => x > y),
  GREATER_EQUAL: elementwise((x, y) => x >= y),
  LESS: elementwise((x, y) => x < y),
  LESS_EQUAL: elementwise((x, y) => x <= y),
  LOGICAL_AND: elementwise((x, y) => x && y),
  SELECT_V2: elementwise((condition, x, y) => condition ? x : y),
  MEAN: reduction(0, (sum, x) => sum + x, (sum, count) => sum / count),
  SUM: reduction(0, (sum, x) => sum + x),
  REDUCE_MAX: reduction(-Infinity, Math.max),
  REDUCE_MIN: reduction(Infinity, Math.min),
  CONCATENATION: concatenation,
  CONV_2D: convolution,
  FULLY_CONNECTED: fullyConnected,
  GATHER: gather,
  PAD: pad,
  RESHAPE: (out, outShape, [x]) => out.set(x),
  SOFTMAX: softmax,
  STRIDED_SLICE: stridedSlice,
  TRANSPOSE: transpose,
  UNIDIRECTIONAL_SEQUENCE_LSTM: lstm,
};
