// The book's kernels in a page: Numba's arrays laid out in WebAssembly's memory, calls, results.
// A classic script, without requests, so that it works from file:// too. dlbook/tools/wasm.py makes
// the modules and their tables.
"use strict";

var dlbookKernels = (() => {
  const NUMBERS = {
    float64: Float64Array, float32: Float32Array, complex128: Float64Array, complex64: Float32Array,
    int64: BigInt64Array, uint64: BigUint64Array, int32: Int32Array, uint32: Uint32Array,
    int16: Int16Array, uint16: Uint16Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
  };
  const parts = (type) => (type.startsWith("complex") ? 2 : 1);  // numbers for one
  const width = (type) => NUMBERS[type].BYTES_PER_ELEMENT * parts(type);
  const whole = (type) => NUMBERS[type] === BigInt64Array || NUMBERS[type] === BigUint64Array;
  const product = (shape) => shape.reduce((a, b) => a * b, 1);
  const numeral = (n) => (n === 1 ? "1 axis" : `${n} axes`);

  // Nested lists, or a number, as {shape, data}; complex numbers are pairs [re, im], null is NaN.
  function array(type, nested, rank) {
    const shape = [], flat = [], deep = (x, axis) => {
      if (!Array.isArray(x) || axis === rank) return flat.push(...(parts(type) === 2 ? [x].flat() : [x]));
      if (shape.length === axis) shape.push(x.length);
      if (shape[axis] !== x.length) throw new Error("lists of different lengths are no array");
      x.forEach((y) => deep(y, axis + 1));
    };
    deep(nested, 0);
    while (shape.length < rank && shape.includes(0)) shape.push(0);
    const number = whole(type) ? (x) => BigInt(x) : (x) => (x === null ? NaN : Number(x));
    return { shape, data: NUMBERS[type].from(flat, number) };
  }

  // What a kernel gives as nested lists of numbers: the inverse; several results as a list of those.
  function nested(value) {
    if (value === null || typeof value !== "object") return value === null ? null : Number(value);
    if (!value.data) return Object.values(value).map(nested);
    const nest = (flat, [size, ...rest]) => {
      if (!rest.length) return flat;
      const step = flat.length / size;
      return Array.from({ length: size }, (_, i) => nest(flat.slice(i * step, (i + 1) * step), rest));
    };
    return value.shape.length ? nest(Array.from(value.data, Number), value.shape) : Number(value.data[0]);
  }

  // The value of an argument, as the kernel wants it, or an error that says in words why not.
  function taken(name, kind, value, sizes) {
    if (kind.tuple) {
      const values = kind.names && !Array.isArray(value) ? kind.names.map((n) => value[n]) : value;
      if (!Array.isArray(values) || values.length !== kind.tuple.length)
        throw new Error(`${name} is a tuple of ${kind.tuple.length}`);
      return kind.tuple.map((k, i) => taken(`${name}[${i}]`, k, values[i], sizes));
    }
    if (!kind.array) {
      const number = Array.isArray(value) ? value.length === 2 && parts(kind) === 2 : !(value instanceof Object);
      if (kind !== "none" && (!number || value === undefined || value === null)) throw new Error(`${name} is one number, ${kind}`);
      if (/int/.test(kind) && !Number.isInteger(Number(value))) throw new Error(`${name} is a whole number`);
      return value;
    }
    const rank = kind.axes.length, listed = Array.isArray(value) || !(value instanceof Object);
    const found = listed ? array(kind.array, value, rank) : value;
    if (!found?.shape || !(found.data instanceof NUMBERS[kind.array]))
      throw new Error(`${name} is an array of ${kind.array}`);
    if (found.shape.length !== rank)
      throw new Error(`${name} has ${numeral(rank)}, not ${found.shape.length}`);
    if (found.data.length !== product(found.shape) * parts(kind.array))
      throw new Error(`${name} has ${found.data.length} numbers for the shape (${found.shape})`);
    kind.axes.forEach((letter, axis) => {
      if (letter === null) return;
      const [size, where] = /\d/.test(letter) ? [Number(letter)] : (sizes[letter] ??= [found.shape[axis], name]);
      if (size !== found.shape[axis])
        throw new Error(`${name} has ${found.shape[axis]} along ${letter}, ` + (where ? `${where} has ${size}` : "which is fixed"));
    });
    return found;
  }

  async function load(code, table) {  // bytes, or their base64
    const bytes = typeof code === "string" ? Uint8Array.from(atob(code), (c) => c.charCodeAt(0)) : code;
    const { ".memory": memory, ".stack": stack, ".room": room, ".reset": reset, ...wasm } =
      (await WebAssembly.instantiate(bytes)).instance.exports;
    const bottom = stack.value;  // the stack grows down from here, arrays lie above
    const up = (at, to) => Math.ceil(at / to) * to;
    const align = (kind) => kind.tuple ? Math.max(1, ...kind.tuple.map(align))
      : kind.array ? 8 : kind === "none" ? 4 : NUMBERS[kind].BYTES_PER_ELEMENT;

    function write(kind, value, flat, written) {
      if (kind.tuple) return kind.tuple.forEach((k, i) => write(k, value[i], flat, written));
      if (kind === "none") return flat.push(0);
      if (!kind.array) {
        const number = whole(kind) ? BigInt : Number;
        return flat.push(...(parts(kind) === 2 ? [value, 0].flat().slice(0, 2) : [value]).map(number));
      }
      const { shape, data } = value, at = room(data.byteLength);
      new NUMBERS[kind.array](memory.buffer, at, data.length).set(data);
      written.push([data, at]);
      const strides = shape.map((_, i) => width(kind.array) * product(shape.slice(i + 1)));
      flat.push(0, 0, ...[product(shape), width(kind.array)].map(BigInt), at, ...[...shape, ...strides].map(BigInt));
    }

    function read(kind, at) {  // [value, where the next one begins]
      const view = new DataView(memory.buffer), long = (p) => Number(view.getBigInt64(p, true));
      at = up(at, align(kind));
      if (kind === "none") return [null, at + 4];
      if (kind.tuple) {
        const values = kind.tuple.map((k) => { const [value, next] = read(k, at); at = next; return value; });
        const named = kind.names ? Object.fromEntries(kind.names.map((n, i) => [n, values[i]])) : values;
        return [named, up(at, align(kind))];
      }
      const type = kind.array ?? kind, each = parts(type), rank = kind.array ? kind.axes.length : 0;
      const axes = [...Array(rank).keys()], start = kind.array ? view.getUint32(at + 24, true) : at;
      const shape = axes.map((i) => long(at + 32 + 8 * i)), strides = axes.map((i) => long(at + 32 + 8 * (rank + i)));
      const solid = strides.every((step, i) => step === width(type) * product(shape.slice(i + 1)));
      const data = solid ? new NUMBERS[type](memory.buffer, start, product(shape) * each).slice() : new NUMBERS[type](product(shape) * each);
      for (let n = 0; !solid && n < data.length / each; n++) {  // it may be a view: transposed, every second
        let rest = n, place = start;
        for (let i = rank - 1; i >= 0; i--) { place += (rest % shape[i]) * strides[i]; rest = Math.floor(rest / shape[i]); }
        data.set(new NUMBERS[type](memory.buffer, place, each), n * each);
      }
      if (kind.array) return [{ shape, data }, at + 32 + 16 * rank];
      const value = each === 2 ? [...data] : type === "bool" ? data[0] !== 0 : data[0];
      return [typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value, at + width(type)];
    }

    function words(at) {  // what a kernel raised
      const text = new Uint8Array(memory.buffer, at);
      return new TextDecoder().decode(text.slice(0, text.indexOf(0)));
    }

    function call(name, { symbol, args, returns }, values) {
      const names = Object.keys(args), sizes = {}, flat = [], written = [];
      if (values.length !== names.length) throw new Error(`${name} takes ${names.join(", ")}`);
      const given = names.map((n, i) => taken(n, args[n], values[i], sizes));
      reset(bottom);
      const result = room(1 << 14), raised = room(8);
      names.forEach((n, i) => write(args[n], given[i], flat, written));
      const status = wasm[symbol](result, raised, ...flat);
      if (status > 0) throw new Error(words(new DataView(memory.buffer).getUint32(raised, true)));
      for (const [data, at] of written)  // a kernel may write to its arguments
        data.set(new data.constructor(memory.buffer, at, data.length));
      return read(returns, result)[0];
    }
    return Object.fromEntries(Object.entries(table).map(([n, row]) => [n, (...values) => call(n, row, values)]));
  }
  return { load, array, nested };
})();
