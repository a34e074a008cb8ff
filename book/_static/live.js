/* Equations that answer: what a reader types is evaluated by `formula`, and judged by the book's own kernel, which
   runs here as WebAssembly (`dlbookKernels`), on the cases that the page itself ran. Nothing leaves the page. */

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

  /* The same as a kernel takes it */
  const handed = (value) => (value !== null && typeof value === "object" ? Object.values(value)[0] : value);

  /* What a kernel gives, as numbers with a shape */
  function numbers(value) {
    if (typeof value !== "object") return { shape: [], data: [Number(value)] };
    return { shape: value.shape, data: Array.from(value.data, Number) };
  }

  const small = (x) => (x === 0 ? "none" : x < 1e-15 ? "below 1e-15" : x.toExponential(0));
  const cases = (n) => `${n} case${n === 1 ? "" : "s"}`;

  /* The equations of a page, from its script in live/ */
  async function open({ code, table, equations }) {
    const kernels = await dlbookKernels.load(code, table), known = {};
    for (const [label, { kernel, left, cases }] of Object.entries(equations)) {
      const names = Object.keys(table[kernel].args);
      known[label] = cases.map(({ args }) => ({
        arrays: Object.fromEntries(args.map((value, i) => [names[i], plain(value)])),
        right: numbers(kernels[kernel](...args.map(handed))),
        left,
      }));
    }

    /* What a right-hand side gives in each case */
    const values = (label, text) =>
      known[label].map(({ arrays, left, right }) => formula.evaluate(text, { left, shape: right.shape, arrays }));

    const compared = (label, found) => found.map((one, n) => formula.compare(one, known[label][n].right, CLOSE, { nan: true }));

    /* The wrong form that gives the same in every case */
    function named(label, found) {
      const same = (text) => values(label, text).every((one, n) => formula.compare(found[n], one, CLOSE, { nan: true }).passed);
      return equations[label].wrong.find(([, text]) => same(text))?.[0];
    }

    /* A verdict: `right`, `words`; for what cannot be read where (`start`, `end`) and `kind`; for a wrong value the
       worst `at`, the number of its case, and the `name` of a known mistake */
    function judge(label, text) {
      let found;
      try {
        found = values(label, text);
      } catch (mistake) {
        if (!(mistake instanceof formula.Mistake)) throw mistake;
        const { kind, start, end, message } = mistake;
        return { right: false, words: message, kind, start, end };
      }
      const verdicts = compared(label, found), { left, cases: all } = equations[label];
      const error = Math.max(...verdicts.map((one) => one.error));
      if (verdicts.every((one) => one.passed)) {
        const by = [...new Set(all.map((one) => one.by))].join("; ");
        return { right: true, words: `the kernel's numbers in ${cases(all.length)}, largest difference ${small(error)}; the kernel was checked by: ${by}` };
      }
      const size = ({ passed, error }) => (passed ? -1 : Number.isNaN(error) ? Infinity : error);
      const worst = verdicts.reduce((a, b) => (size(b) > size(a) ? b : a)), n = verdicts.indexOf(worst);
      const name = named(label, found), where = all.length > 1 ? ` in case ${n + 1} of ${all.length}` : "";
      const words = `${name ? `${name}: ` : ""}${formula.sayWorst(worst, left)}${where}`;
      return { right: false, words, name, at: worst.at, case: n };
    }

    return { judge, cases: (label) => known[label] };
  }

  return { open };
})();
