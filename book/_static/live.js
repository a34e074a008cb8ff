/* Equations that answer: what a reader types is evaluated by `formula`, and judged by the book's own kernel, which
   runs here as WebAssembly (`dlbookKernels`), on the cases that the page itself ran and on the reader's own. Nothing
   leaves the page. */

var liveEquations = (() => {
  "use strict";
  const CLOSE = 1e-9; // relative to the largest number of a case

  /* A value of a case, {"float64": nested lists} or a number, as the small language takes it */
  function plain(value) {
    if (value === null || typeof value !== "object") return value === null ? NaN : Number(value);
    const [nested] = Object.values(value), shape = [], data = [];
    const flatten = (x, axis) => {
      if (!Array.isArray(x)) return data.push(x === null ? NaN : Number(x));
      shape[axis] ??= x.length;
      x.forEach((y) => flatten(y, axis + 1));
    };
    flatten(nested, 0);
    return { shape, data };
  }

  /* The same as a kernel takes it; a list is a tuple */
  const handed = (value) =>
    Array.isArray(value) ? value.map(handed) : value !== null && typeof value === "object" ? Object.values(value)[0] : value;

  /* What a kernel gives, as numbers with a shape; a tuple as a list of those */
  function numbers(value) {
    if (value === null || typeof value !== "object") return { shape: [], data: value === null ? [] : [Number(value)] };
    if (value.data && value.shape) return { shape: value.shape, data: Array.from(value.data, Number) };
    return Object.values(value).map(numbers);
  }

  /* What errors are a share of: the largest number expected, or, where all are zero but for rounding, of what is given */
  const largest = (data) => data.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0);
  const scaled = (expected, inputs) => Math.max(largest(expected), 1e-6 * largest(inputs)) || 1;

  const small = (x) => (x === 0 ? "exactly" : `the largest difference ${x < 1e-15 ? "below 1e-15" : x.toExponential(0)}`);
  const cases = (n) => (n === 1 ? "in its case" : `in all ${n} cases`);

  /* The equations of a page, from its script in live/ */
  async function open({ code, table, equations }) {
    const kernels = await dlbookKernels.load(code, table), known = {};

    /* A case with what the kernel gives for it, or an error in words */
    function tried(label, args, by) {
      const { kernel, left, part } = equations[label], kinds = Object.entries(table[kernel].args);
      const arrays = kinds.map(([name, kind], i) => [name, kind, args[i]]).filter(([, kind]) => !kind.tuple && kind !== "none");
      const result = numbers(kernels[kernel](...args.map(handed)));
      const known = Object.fromEntries(arrays.map(([name, , value]) => [name, plain(value)])), sizes = {};
      for (const [name, kind] of arrays)
        kind.axes?.forEach((letter, d) => { if (/^[a-z]$/.test(letter)) sizes[letter.toUpperCase()] = known[name].shape[d]; });
      const right = part === undefined ? result : result[part];
      const inputs = arrays.filter(([, kind]) => /float|complex/.test(kind.array ?? kind)).flatMap(([name]) => known[name].data);
      return { args, by, left, result, right, sizes, arrays: { ...sizes, ...known }, scale: scaled(right.data ?? [], inputs) };
    }
    const all = (label) => (known[label] ??= equations[label].cases.map(({ args, by }) => tried(label, args, by)));

    /* What a right-hand side gives in each case */
    const values = (text, some) =>
      some.map(({ arrays, left, right }) => formula.evaluate(text, { left, shape: right.shape, arrays }));

    const compare = (found, expected, { scale }) => formula.compare(found, expected, CLOSE, { nan: true, scale });
    const compared = (found, some) => found.map((one, n) => compare(one, some[n].right, some[n]));

    /* The wrong form that gives the same in every case; numbers of the reader's may not suit all of them */
    function named(label, found, some) {
      const same = ([, text]) => {
        try {
          return values(text, some).every((one, n) => compare(found[n], one, { scale: scaled(one.data, []) }).passed);
        } catch (mistake) {
          if (mistake instanceof formula.Mistake) return false;
          throw mistake;
        }
      };
      return equations[label].wrong.find(same)?.[0];
    }

    /* A verdict: `right`, `words`; for what cannot be read where (`start`, `end`) and `kind`; for a wrong value the
       worst `at`, the number of its case, and the `name` of a known mistake; of values which entries are `apart`, for
       each case. `own` is a case of the reader's. */
    function judge(label, text, own) {
      const stock = all(label), some = own ? [...stock, own] : stock;
      let found;
      try {
        found = values(text, some);
      } catch (mistake) {
        if (!(mistake instanceof formula.Mistake)) throw mistake;
        const { kind, start, end, message } = mistake;
        return { right: false, words: message, kind, start, end };
      }
      const verdicts = compared(found, some);
      const error = Math.max(...verdicts.map((one) => one.error)), apart = verdicts.map((one) => one.apart);
      if (verdicts.every((one) => one.passed)) {
        const by = [...new Set(stock.map((one) => one.by))].join("; "), more = own ? " and with your numbers" : "";
        const words = `agrees with the kernel ${cases(stock.length)}${more}, ${small(error)}`;
        return { right: true, words: `${words}. The kernel was checked by: ${by}.`, found, apart };
      }
      const size = ({ passed, error }) => (passed ? -1 : Number.isNaN(error) ? Infinity : error);
      const worst = verdicts.reduce((a, b) => (size(b) > size(a) ? b : a)), n = verdicts.indexOf(worst);
      const name = named(label, found, some), { left } = equations[label];
      const where = n === stock.length ? " with your numbers" : some.length > 1 ? ` in case ${n + 1} of ${stock.length}` : "";
      const words = `${name ? `${name}: ` : ""}${formula.sayWorst(worst, left)}${where}`;
      return { right: false, words, name, at: worst.at, case: n, found, apart };
    }

    return { judge, cases: all, tried, plain, equation: (label) => equations[label], kinds: (label) => table[equations[label].kernel].args };
  }

  return { open };
})();
