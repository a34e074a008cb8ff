/* The small language of the live equations: the right-hand side of an equation, as a reader types it, evaluated
   for every combination of the indices on the left. This file defines `formula`, nothing else.

     formula.evaluate("sum(k, w[k,j] * delta[k]) * σ′(z[j])", {
       left: ["j"], shape: [4],                 the indices on the left; how far they run, if it is known
       arrays: { w: { shape: [3, 4], data }, rate: 0.1 },       data row by row, or a single number
       functions: { exp: (x) => … },            for the built-in ones, also where others are made of them
     }) gives { shape, data }; formula.compare judges it, and formula.sayWorst puts the verdict in words.

   Numbers, + - * / ^ ** and parentheses are as in Python; − is minus, · and × are *, δ is delta. An entry is
   w[k,j], w_kj, w_{kj} or w_{k,j}: each letter after the underscore is an index, but a name known as a whole
   (rho_hat) is that name. Indices may be arithmetic: x[t-1], x_{s*i+a}, W[ids[t],d]; a lone one runs over its
   axis. sum(k, …), prod, max and min bind one or several. Σ_k, Σ_km and Σ_{k,m} take the whole product that
   follows; Π_k, max_k, min_k, and Σ_k after / or ^, one factor, and no other may follow. max(a, b) takes two.
   = < > <= >= != (≠ ≤ ≥), `and`, `or` and [j = k] give 1 or 0; there indices count from 0, as everywhere.
   where(condition, a, b) evaluates only what it takes, and so can guard x[t-1]. size(x, 1) is the length of an axis.

   What cannot be evaluated is a `formula.Mistake`: words, a place in the text (start, end), and a kind: empty,
   ends (too early), symbol (without a meaning), bracket (not closed, or by another), place (no value where one
   is expected), left (over), unclear (where a sum ends), name (unknown), arguments (of a function), rank (number
   of indices), index (free, or bound twice), size (differs, or is unknown), outside (of an axis), long, deep, much. */
var formula = (() => {
  "use strict";
  const MOST = { characters: 2000, depth: 100, steps: 3e6 };
  class Mistake extends Error {}
  const fail = (kind, { start, end }, words) => { throw Object.assign(new Mistake(words), { kind, start, end }); };
  const count = (shape) => shape.reduce((a, b) => a * b, 1);
  const places = (n, shape) => shape.map((size, d) => Math.floor(n / count(shape.slice(d + 1))) % size);
  const shown = (x, digits) => String(Number(x.toPrecision(digits))).replace(/-/g, "−").replace("Infinity", "∞");
  const sized = ({ name, size }, place) =>
    size ?? fail("size", place, `nothing says how far ${name} runs: it stands alone on no axis`);

  /* Text becomes tokens: numbers, words and signs, each with its place; w_kj becomes those of w[k,j]. */
  const SAME = { "−": "-", "·": "*", "×": "*", "⋅": "*", "∗": "*", "**": "^", "==": "=", "≤": "<=", "≥": ">=", "≠": "!=" };
  Object.assign(SAME, { "{": "[", "}": "]", Σ: "sum", "∑": "sum", Π: "prod", "∏": "prod", "√": "sqrt", "'": "′", "’": "′" });
  const GREEK = ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma " +
    "tau upsilon phi chi psi omega").split(" ");
  const spelled = (word) => word.replace(/[α-ωΣΠ∑∏√'’]/g, (x) => SAME[x] ?? GREEK[x.charCodeAt(0) - 945]);
  const NUMBER = "(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][-+−]?\\d+)?";
  const LETTER = "[\\p{L}\\p{M}\\p{Nd}₀-₉′'’]";
  const WORD = `√|[\\p{L}∂∇∑∏](?:_*${LETTER})*(?:_\\{${LETTER}+\\}|_*)`;
  const SIGN = "\\*\\*|[<>=!]=|[-−+*·×⋅∗/^(){}[\\],<>=≤≥≠²³]", TOKEN = RegExp(`(${NUMBER})|(${WORD})|(${SIGN})|\\S`, "gu");

  function split(text, known) {
    const tokens = [];
    const push = (raw, is, start, type = "sign") => tokens.push({ raw, is, start, end: start + raw.length, type });
    for (const found of text.matchAll(TOKEN)) {
      const [raw, number, word, sign] = found, start = found.index, end = start + raw.length;
      if (!(number || word || sign)) fail("symbol", { start, end }, `“${raw}” has no meaning here`);
      let at = raw.length; // where the longest name that is known ends
      while (word && at > 0 && !known(spelled(raw.slice(0, at)))) at = raw.lastIndexOf("_", at - 1);
      const name = at > 0 ? raw.slice(0, at) : raw, letters = [...raw.slice(name.length + 1).matchAll(/[^{}]/gu)];
      const type = number ? "number" : sign || /^(and|or)$/.test(word) ? "sign" : "word";
      push(name, word ? spelled(name) : SAME[raw] ?? raw, start, type);
      letters.forEach(({ 0: one, index }, n) => {
        push("", n ? "," : "[", start + at + 1 + index);
        push(one, spelled(one), start + at + 1 + index, /\d/.test(one) ? "number" : "word");
      });
      if (letters.length) push("", "]", end);
    }
    return tokens;
  }

  /* Whether one letter was changed, left out, added or exchanged with its neighbour */
  function near(a, b) {
    const n = [...a, ""].findIndex((x, i) => x !== b[i]); // where they part
    const [x, y, rest, other] = [a.slice(n), b.slice(n), a.slice(n + 1), b.slice(n + 1)];
    return rest === other || rest === y || x === other || (x[1] + x[0] === y.slice(0, 2) && x.slice(2) === y.slice(2));
  }

  /* Functions of one number; what the page hands in replaces them. */
  function library(given) {
    const { exp, log, tanh, sqrt, abs, sin, cos, sign, floor } = Math;
    const f = {
      exp, log, tanh, sqrt, abs, sin, cos, sign, floor, erf, relu: (z) => (z <= 0 ? 0 : z),
      sigmoid: (z) => 1 / (1 + f.exp(-z)), σ: (z) => f.sigmoid(z),
      sigmoid_prime: (z) => f.sigmoid(z) * f.sigmoid(-z), "σ′": (z) => f.sigmoid_prime(z), ...given,
    };
    return new Map(Object.entries(f).map(([name, call]) => [spelled(name), call]));
  }

  /* erf x = 2/√π e^(−x²) Σ_n 2ⁿ x^(2n+1) / (1·3·…·(2n+1)), all terms of one sign */
  function erf(x) {
    if (!(Math.abs(x) < 6)) return Math.sign(x);
    let total = 0;
    for (let n = 3, term = x; total + term !== total; term *= (2 * x * x) / n, n += 2) total += term;
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
  }

  /* What was read is a function that gives its value where the indices stand, and its cost in steps. */
  const step = (value, ...parts) => ({ value, cost: parts.reduce((sum, part) => sum + part.cost, 1) });
  const both = (op, a, b) => step(() => TWO[op](a.value, b.value), a, b);
  const LEVELS = [["or"], ["and"], ["=", "!=", "<", ">", "<=", ">="], ["+", "-"], ["*", "/"]];
  const COMPARISON = 2, SUM = 3, PRODUCT = 4;
  const TWO = {
    "+": (a, b) => a() + b(), "-": (a, b) => a() - b(), "*": (a, b) => a() * b(), "/": (a, b) => a() / b(),
    "^": (a, b) => a() ** b(), and: (a, b) => +!!(a() && b()), or: (a, b) => +!!(a() || b()),
    "=": (a, b) => +(a() === b()), "!=": (a, b) => +(a() !== b()), "<": (a, b) => +(a() < b()),
    ">": (a, b) => +(a() > b()), "<=": (a, b) => +(a() <= b()), ">=": (a, b) => +(a() >= b()),
  };
  const FOLDS = new Map([["sum", [0, (a, b) => a + b]], ["prod", [1, (a, b) => a * b]]]);
  FOLDS.set("max", [-Infinity, Math.max]).set("min", [Infinity, Math.min]);

  class Reader {
    constructor(text, { left, shape, arrays = {}, functions = {} }) {
      const array = ([name, x]) => [spelled(name), { name, ...(typeof x === "number" ? { shape: [], data: [x] } : x) }];
      this.arrays = new Map(Object.entries(arrays).map(array));
      this.left = left.map((name, d) => ({ name, at: 0, size: shape?.[d], where: "on the left-hand side" }));
      this.bound = new Map(this.left.map((index) => [spelled(index.name), index])); // indices by name
      Object.assign(this, { text, functions: library(functions), next: 0, depth: 0, within: 0 });
      this.tokens = split(text, (word) => [this.arrays, this.functions, FOLDS].some((names) => names.has(word)));
    }
    get token() { return this.tokens[this.next]; }
    ahead(n = 0) { return this.tokens[this.next + n]?.is; }
    take(...signs) { return signs.includes(this.ahead()) ? this.tokens[this.next++] : undefined; }
    close(open) { return this.take(open.is === "(" ? ")" : "]") ?? this.stuck(open); }
    since(first) { return { start: first.start, end: this.tokens[this.next - 1].end }; }
    said({ start, end }) { return this.text.slice(start, end); }
    /* After a value comes neither an operator nor what closes the bracket, if one is open. */
    stuck(open) {
      const found = this.token, value = found && (found.type !== "sign" || "([".includes(found.is));
      if (!found) fail("bracket", open, `“${open.raw}” is not closed`);
      if (value) fail("left", found, `an operator is missing before “${found.raw}”: a product is written with *`);
      if (open) fail("bracket", found, `“${found.raw}” does not close “${open.raw}”`);
      fail("left", found, `“${found.raw}” is left over`);
    }
    /* The loosest operators first. 0 <= i < n holds where both do; `wide` is whether Σ_k takes a product. */
    operators(level = 0) {
      if (level === LEVELS.length) return this.unary();
      this.wide = true;
      let a = this.operators(level + 1), before = a, op;
      while ((op = this.take(...LEVELS[level]))) {
        this.wide = op.is !== "/";
        const b = this.operators(level + 1), next = both(op.is, level === COMPARISON ? before : a, b);
        [a, before] = [level === COMPARISON && a !== before ? both("and", a, next) : next, b];
      }
      return a;
    }
    unary() {
      if (++this.depth > MOST.depth) fail("deep", this.token ?? this.tokens.at(-1), "too much is nested here");
      const sign = this.take("-", "+"), a = sign ? this.unary() : this.power();
      this.depth--;
      return sign?.is === "-" ? step(() => -a.value(), a) : a;
    }
    power() {
      const a = this.atom(), op = this.take("^", "²", "³");
      if (!op) return a;
      this.wide = false;
      return both("^", a, op.is === "^" ? this.unary() : step(op.is === "²" ? () => 2 : () => 3));
    }
    atom() {
      const token = this.tokens[this.next++], number = Number(token?.raw.replace("−", "-"));
      if (!token) fail("ends", { start: this.text.length - 1, end: this.text.length }, "the text ends where a value is expected");
      if (token.type === "number") return step(() => number);
      if (token.type === "word") return this.word(token);
      if (!"([".includes(token.is)) fail("place", token, `“${token.raw}” stands where a value is expected`);
      const inside = this.operators();
      this.close(token);
      return token.raw === "[" ? step(() => +!!inside.value(), inside) : inside;
    }
    word(token) {
      const { raw, is } = token, index = this.bound.get(is), x = this.arrays.get(is), bracket = this.ahead() === "[";
      if (FOLDS.has(is) && bracket) return this.symbol(token);
      if (raw === "√" && this.ahead() !== "(") return this.root();
      if (this.ahead() === "(") return this.call(token);
      if (index && !(x && bracket)) return step(() => index.at);
      if (x && (bracket || !this.within || !x.shape.length)) return this.entry(x, token, bracket ? this.indices() : []);
      if (this.within) fail("index", token, `${raw} is neither an index of the left-hand side nor bound by a sum`);
      if (is === "pi" || is === "e") return step(() => (is === "e" ? Math.E : Math.PI));
      if (!this.functions.has(is) && !FOLDS.has(is) && is !== "where" && is !== "size") this.unknown(token);
      return fail("arguments", token, `${raw} is a function: write ${raw}(…)`);
    }
    root() {
      const a = this.atom(), sqrt = this.functions.get("sqrt");
      return step(() => sqrt(a.value()), a);
    }
    unknown({ raw, is, ...place }) {
      const own = [...this.arrays.values()].map((x) => x.name);
      const all = [...own, ...this.functions.keys(), ...FOLDS.keys(), "where", "size"];
      const meant = is.length > 1 && all.find((name) => name.length > 1 && near(is, spelled(name)));
      fail("name", place, `${raw} is not known here${meant ? `: did you mean ${meant}?` : `; known: ${own.join(", ") || "numbers"}`}`);
    }
    /* Indices in brackets. Each is a step with its place in the text, and the index that stands alone. */
    indices() {
      const open = this.tokens[this.next++], found = [];
      this.within++;
      do {
        const from = this.next, read = this.operators(SUM), tokens = this.tokens.slice(from, this.next);
        const used = [...new Set(tokens.map((token) => this.bound.get(token.is)))].filter(Boolean);
        found.push({ ...read, ...this.since(tokens[0]), used, alone: tokens.length === 1 ? used[0] : undefined });
      } while (this.take(","));
      this.within--;
      this.close(open);
      return found;
    }
    entry({ name, shape, data }, token, indices) {
      const rank = shape.length, place = this.since(token), where = `in ${this.said(place)}`;
      const has = `${name} has ${rank || "no"} ${rank === 1 ? "index" : "indices"}`;
      if (indices.length !== rank) fail("rank", place, `${has}, not ${indices.length || "none"}`);
      indices.forEach(({ alone: index = {} }, d) => {
        if (index.size === undefined) Object.assign(index, { size: shape[d], where });
        const words = `${index.name} takes ${index.size} values ${index.where}, but ${shape[d]} ${where}`;
        if (index.size !== shape[d]) fail("size", place, words);
      });
      const inside = (index, size) => {
        const i = index.value(), at = index.used.map((one) => ` ${one.name} = ${one.at}`);
        if (i >= 0 && i < size && Number.isInteger(i)) return i;
        const is = `${this.said(index)} is ${shown(i, 6)}${at.length ? ` at${at}` : ""}`;
        return fail("outside", index, `${is}, but this axis of ${name} has ${size ? `the places 0 to ${size - 1}` : "none"}`);
      };
      return step(() => data[indices.reduce((p, index, d) => p * shape[d] + inside(index, shape[d]), 0)], ...indices);
    }
    call(token) {
      const { raw, is } = token, call = this.functions.get(is), open = this.tokens[this.next++];
      if (FOLDS.has(is)) return this.fold(token, open);
      if (is === "size" && !call) return this.size(token, open);
      if (!call && this.arrays.has(is)) fail("arguments", token, `${raw} is no function: its indices stand in [ ]`);
      if (!call && is !== "where") this.unknown(token);
      const [a, b, c] = this.values(token, open, call ? 1 : 3);
      return call ? step(() => call(a.value()), a) : step(() => (a.value() ? b.value() : c.value()), a, b, c);
    }
    /* size(x), size(x, 1): how long an array is, along its first axis or another */
    size(token, open) {
      const word = this.tokens[this.next++], x = this.arrays.get(word?.is);
      if (!x) fail("arguments", word ?? token, "size takes the name of an array, and the number of its axis: size(x, 0)");
      const number = this.take(",") ? this.tokens[this.next++] : undefined, axis = number ? Number(number.raw) : 0;
      this.close(open);
      const has = `${x.name} has ${x.shape.length} ${x.shape.length === 1 ? "axis" : "axes"}, counted from 0`;
      if (!(axis in x.shape)) fail("rank", number ?? word, has);
      return step(() => x.shape[axis]);
    }
    values(token, open, wanted) {
      const found = [];
      do found.push(this.operators()); while (this.take(","));
      this.close(open);
      if (found.length === wanted) return found;
      return fail("arguments", this.since(token), `here ${token.raw} takes ${wanted} value${wanted > 1 ? "s" : ""}`);
    }
    /* sum(k, m, …), and max(k, …) or max(a, b): there one letter is an index, unless it is a number already. */
    fold(token, open) {
      const { raw, is } = token, words = [], choice = is === "max" || is === "min", add = FOLDS.get(is)[1];
      const number = ({ raw, is }) => raw.length > 1 || this.bound.has(is) || this.arrays.get(is)?.shape.length === 0;
      const binds = () => this.token?.type === "word" && this.ahead(1) === "," && !(choice && number(this.token));
      for (; binds(); this.next += 2) words.push(this.token);
      if (words.length) return this.over(token, words, () => this.values(token, open, 1)[0]);
      if (!choice) fail("arguments", token, `${raw} needs an index: ${raw}(k, …)`);
      const [a, b] = this.values(token, open, 2);
      return step(() => add(a.value(), b.value()), a, b);
    }
    symbol(token) {
      const open = this.tokens[this.next++], words = [], wide = this.wide && token.is === "sum";
      do words.push(this.tokens[this.next++]); while (this.take(","));
      this.close(open);
      if (words.some((word) => word.type !== "word")) fail("index", this.since(token), `indices follow ${token.raw}_`);
      return this.over(token, words, () => {
        const body = wide ? this.operators(PRODUCT) : this.unary(), next = this.token;
        if (wide || !/^[*/]$/.test(next?.is)) return body;
        return fail("unclear", next, `does ${token.raw} end before “${next.raw}”? Parentheses would tell`);
      });
    }
    over(token, words, read) {
      const outer = this.bound, taken = words.find(({ is }) => this.left.includes(outer.get(is)));
      if (taken) fail("index", taken, `${taken.raw} is an index of the left-hand side: take another letter`);
      const indices = words.map(({ raw }) => ({ name: raw, at: 0 })), [start, add] = FOLDS.get(token.is);
      this.bound = new Map([...outer, ...words.map(({ is }, n) => [is, indices[n]])]);
      const body = read();
      this.bound = outer;
      return indices.reduceRight(({ value, cost }, index, n) => {
        const size = sized(index, words[n]);
        const fold = (total = start) => {
          for (index.at = 0; index.at < size; index.at++) total = add(total, value());
          return total;
        };
        return { value: fold, cost: 1 + size * cost };
      }, body);
    }
  }

  function evaluate(text, scope) {
    const whole = { start: 0, end: text.length };
    if (text.length > MOST.characters) fail("long", whole, `this is longer than ${MOST.characters} characters`);
    const reader = new Reader(text, scope), left = reader.left;
    if (!reader.token) fail("empty", whole, "there is nothing here yet");
    const root = reader.operators();
    if (reader.token) reader.stuck();
    const shape = left.map((index) => sized(index, whole)), length = count(shape);
    if (length * root.cost > MOST.steps) fail("much", whole, `this takes more than ${MOST.steps / 1e6} million steps`);
    const value = (_, n) => (places(n, shape).forEach((at, d) => (left[d].at = at)), root.value());
    return { shape, data: Float64Array.from({ length }, value) };
  }

  /* The verdict of the book's checks: the largest difference, as a share of the largest number expected, and which
     entries are `apart` */
  function compare(found, expected, tolerance, { scale, nan = false } = {}) {
    const { shape, data } = expected, verdict = { passed: false, tolerance, count: data.length, error: NaN };
    if (`${found.shape}` !== `${shape}`) return { ...verdict, problem: `shapes [${found.shape}] and [${shape}] differ` };
    if (!data.length) return { ...verdict, problem: "there is nothing to compare" };
    const same = (x, y) => nan && (x === y || (Number.isNaN(x) && Number.isNaN(y)));
    const gaps = Array.from(data, (x, n) => (same(x, found.data[n]) ? 0 : Math.abs(x - found.data[n])));
    const wild = gaps.findIndex((gap) => !Number.isFinite(gap));
    const n = wild < 0 ? gaps.indexOf(gaps.reduce((a, b) => Math.max(a, b))) : wild;
    const size = scale ?? data.reduce((most, x) => Math.max(most, Math.abs(x) || 0), 0);
    const error = gaps[n] / (size || 1), apart = gaps.map((gap) => !(gap / (size || 1) <= tolerance));
    const zero = !size && scale === undefined && error ? "zero is expected everywhere" : undefined;
    const problem = wild < 0 ? zero : "not a finite number", passed = !problem && error <= tolerance;
    return { ...verdict, passed, problem, error, apart, at: places(n, shape), found: found.data[n], expected: data[n] };
  }

  /* "at j = 2: yours −0.31, the kernel −0.29", with as many digits as tell the two apart */
  function sayWorst({ at, found, expected, problem }, names = [], by = "the kernel") {
    if (!at) return problem;
    const digits = [2, 3, 4, 5, 6, 8, 10, 12, 14, 16].find((n) => shown(found, n) !== shown(expected, n)) ?? 2;
    const place = at.map((n, d) => `${names[d]} = ${n}`).join(", ");
    return `${place && `at ${place}: `}yours ${shown(found, digits)}, ${by} ${shown(expected, digits)}`;
  }
  return { Mistake, evaluate, compare, sayWorst };
})();
