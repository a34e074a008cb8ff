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
   axis. sum(k, …), prod, max and min bind an index, or several. Σ_k, Σ_km and Σ_{k,m} take the whole product
   that follows; Π_k, max_k, min_k, and Σ_k after / or ^, one factor, and no other may follow. Also max(a, b)
   of two values; = < > <= >= != (≠ ≤ ≥), `and` and `or`, which give 1 or 0, as does [j = k], where indices
   count from 0; where(condition, a, b), which evaluates a or b and so can guard x[t-1].

   What cannot be evaluated is a `formula.Mistake`: words, a place in the text (start, end), and a kind: empty,
   ends (too early), symbol (without a meaning), bracket (not closed, or by another), place (no value where one
   is expected), left (over), unclear (where a sum ends), name (unknown), arguments (of a function), rank (number
   of indices), index (free, or bound twice), size (differs, or is not known), outside (of an axis), long, deep,
   much (beyond a limit). */

var formula = (() => {
  "use strict";
  const MOST = { characters: 2000, depth: 100, steps: 3e6 };

  class Mistake extends Error {}
  const fail = (kind, { start, end }, words) => {
    throw Object.assign(new Mistake(words), { kind, start, end });
  };
  const plural = (n, one, many) => (n === 1 ? `1 ${one}` : `${n || "no"} ${many}`);
  const count = (shape) => shape.reduce((a, b) => a * b, 1);
  const places = (n, shape) => shape.map((size, d) => Math.floor(n / count(shape.slice(d + 1))) % size);
  const shown = (x, digits) => String(Number(x.toPrecision(digits))).replace(/-/g, "−").replace("Infinity", "∞");

  /* Text becomes tokens: numbers, words and signs, each with its place; w_kj becomes those of w[k,j]. */
  const SAME = { "−": "-", "·": "*", "×": "*", "⋅": "*", "∗": "*", "**": "^", "==": "=", "≤": "<=", "≥": ">=", "≠": "!=" };
  Object.assign(SAME, { "{": "[", "}": "]", Σ: "sum", "∑": "sum", Π: "prod", "∏": "prod", "√": "sqrt", "'": "′", "’": "′" });
  const GREEK = ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma " +
    "tau upsilon phi chi psi omega").split(" ");
  const letter = (x) => SAME[x] ?? GREEK[x.charCodeAt(0) - 945];
  const spelled = (word) => word.replace(/[α-ωΣΠ∑∏√'’]/g, letter);
  const NUMBER = "(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][-+−]?\\d+)?";
  const WORD = "√|[\\p{L}∂∇∑∏][\\p{L}\\p{M}\\p{Nd}₀-₉_′'’]*(?:\\{[\\p{L}\\p{Nd}]+\\})?";
  const SIGN = "\\*\\*|[<>=!]=|[-−+*·×⋅∗/^(){}[\\],<>=≤≥≠²³]";

  function split(text, known) {
    const tokens = [];
    const push = (raw, is, start, type = "sign") => tokens.push({ raw, is, start, end: start + raw.length, type });
    for (const found of text.matchAll(RegExp(`(${NUMBER})|(${WORD})|(${SIGN})|\\S`, "gu"))) {
      const [raw, number, word, sign] = found, start = found.index, end = start + raw.length;
      const meaning = number || word || (sign && (raw !== "{" || text[start - 1] === "_"));
      if (!meaning) fail("symbol", { start, end }, `“${raw}” has no meaning here`);
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

  /* Whether a becomes b where at most n letters are changed, left out, added or exchanged with the next */
  function near(a, b, n) {
    if (a === b || n < 0 || Math.abs(a.length - b.length) > n) return a === b && n >= 0;
    if (a[0] === b[0]) return near(a.slice(1), b.slice(1), n);
    const ways = [[1, 1], [1, 0], [0, 1], ...(a[0] === b[1] && a[1] === b[0] ? [[2, 2]] : [])];
    return ways.some(([i, j]) => near(a.slice(i), b.slice(j), n - 1));
  }

  /* Functions of one number; what the page hands in replaces them. */
  function library(given) {
    const { exp, log, tanh, sqrt, abs, sin, cos, sign, floor } = Math;
    const f = { exp, log, tanh, sqrt, abs, sin, cos, sign, floor, erf, relu: (z) => (z <= 0 ? 0 : z) };
    f.sigmoid = (z) => 1 / (1 + f.exp(-z));
    f.sigmoid_prime = (z) => f.sigmoid(z) * f.sigmoid(-z);
    Object.assign(f, given);
    const all = { σ: f.sigmoid, "σ′": f.sigmoid_prime, "sigmoid′": f.sigmoid_prime, ...f };
    return new Map(Object.entries(all).map(([name, call]) => [spelled(name), call]));
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
      const array = (name, x) => ({ name, ...(typeof x === "number" ? { shape: [], data: [x] } : x) });
      this.arrays = new Map(Object.entries(arrays).map(([name, x]) => [spelled(name), array(name, x)]));
      this.left = left.map((name, d) => ({ name, at: 0, size: shape?.[d], where: "on the left-hand side" }));
      this.bound = new Map(this.left.map((index) => [spelled(index.name), index])); // indices by name
      const tokens = split(text, (word) => this.arrays.has(word) || FOLDS.has(word));
      Object.assign(this, { text, tokens, next: 0, depth: 0, within: 0, functions: library(functions) });
    }

    get end() { return { start: this.tokens.at(-1).end - 1, end: this.tokens.at(-1).end }; }
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
        a = level === COMPARISON && a !== before ? both("and", a, next) : next;
        before = b;
      }
      return a;
    }
    unary() {
      if (++this.depth > MOST.depth) fail("deep", this.token ?? this.end, `more than ${MOST.depth} things stand in each other`);
      const sign = this.take("-", "+"), a = sign ? this.unary() : this.power();
      this.depth--;
      return sign?.is === "-" ? step(() => -a.value(), a) : a;
    }
    power() {
      let a = this.atom(), op;
      while ((op = this.take("²", "³"))) a = both("^", a, step(op.is === "²" ? () => 2 : () => 3));
      if (!this.take("^")) return a;
      this.wide = false;
      return both("^", a, this.unary());
    }
    atom() {
      const token = this.tokens[this.next++], number = Number(token?.raw.replace("−", "-"));
      if (!token) fail("ends", this.end, "the text ends where a value is expected");
      if (token.type === "number") return step(() => number);
      if (token.type === "word") return this.word(token);
      if (!"([".includes(token.is)) fail("place", token, `“${token.raw}” stands where a value is expected`);
      const inside = this.operators();
      this.close(token);
      return token.is === "(" ? inside : step(() => +!!inside.value(), inside);
    }

    word(token) {
      const { raw, is } = token, index = this.bound.get(is), x = this.arrays.get(is), bracket = this.ahead() === "[";
      if (FOLDS.has(is) && bracket) return this.symbol(token);
      if (this.ahead() === "(") return this.call(token);
      if (index && !(x && bracket)) return step(() => index.at);
      if (x && (bracket || !this.within || !x.shape.length)) return this.entry(x, token, bracket ? this.indices() : []);
      if (this.within) fail("index", token, `${raw} is neither an index of the left-hand side nor bound by a sum`);
      if (is === "pi" || is === "e") return step(() => (is === "e" ? Math.E : Math.PI));
      if (!this.functions.has(is) && !FOLDS.has(is) && is !== "where") this.unknown(token);
      return fail("arguments", token, `${raw} is a function: write ${raw}(…)`);
    }
    unknown({ raw, is, ...place }) {
      const own = [...this.arrays.values()].map((x) => x.name), more = [...this.functions.keys(), ...FOLDS.keys(), "where"];
      const like = (name, n) => n < Math.min(name.length, is.length) && near(is, spelled(name), n);
      const meant = [1, is.length > 4 ? 2 : 1].flatMap((n) => [...own, ...more].filter((name) => like(name, n)))[0];
      fail("name", place, `${raw} is not known here${meant ? `: did you mean ${meant}?` : `; there is ${own.join(", ")}`}`);
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
      const place = this.since(token), where = `in ${this.said(place)}`, has = plural(shape.length, "index", "indices");
      if (indices.length !== shape.length) fail("rank", place, `${name} has ${has}, not ${indices.length || "none"}`);
      indices.forEach(({ alone: index }, d) => {
        if (index && index.size === undefined) Object.assign(index, { size: shape[d], where });
        if (!index || index.size === shape[d]) return;
        fail("size", place, `${index.name} takes ${plural(index.size, "value", "values")} ${index.where}, but ${shape[d]} ${where}`);
      });
      const inside = (index, size) => {
        const i = index.value(), at = index.used.map((one) => ` ${one.name} = ${one.at}`);
        if (i >= 0 && i < size && Number.isInteger(i)) return i;
        const words = `${this.said(index)} is ${shown(i, 6)}${at.length ? ` at${at}` : ""}, but this axis of ${name} has`;
        return fail("outside", index, `${words} ${size ? `the places 0 to ${size - 1}` : "none"}`);
      };
      return step(() => data[indices.reduce((p, index, d) => p * shape[d] + inside(index, shape[d]), 0)], ...indices);
    }

    call(token) {
      const { raw, is } = token, call = this.functions.get(is), open = this.tokens[this.next++];
      if (FOLDS.has(is)) return this.fold(token, open);
      if (!call && this.arrays.has(is)) fail("arguments", token, `${raw} is no function: its indices stand in [ ]`);
      if (!call && is !== "where") this.unknown(token);
      const [a, b, c] = this.values(token, open, call ? 1 : 3);
      return call ? step(() => call(a.value()), a) : step(() => (a.value() ? b.value() : c.value()), a, b, c);
    }
    values(token, open, wanted) {
      const found = [];
      do found.push(this.operators()); while (this.take(","));
      this.close(open);
      if (found.length === wanted) return found;
      return fail("arguments", this.since(token), `${token.raw} takes ${plural(wanted, "value", "values")}, not ${found.length}`);
    }

    /* sum(k, m, …), and max(k, …) or max(a, b): there one letter is an index, unless it is a number already. */
    fold(token, open) {
      const { raw, is } = token, words = [], choice = is === "max" || is === "min", add = FOLDS.get(is)[1];
      const number = ({ raw, is }) => raw.length > 1 || this.bound.has(is) || this.arrays.get(is)?.shape.length === 0;
      for (; this.token?.type === "word" && this.ahead(1) === "," && !(choice && number(this.token)); this.next += 2) {
        words.push(this.token);
      }
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
      const indices = words.map(({ raw, is, ...place }) => {
        if (this.bound.has(is)) fail("index", place, `${raw} is an index already: take another letter`);
        return this.bound.set(is, { name: raw, at: 0 }).get(is);
      });
      const body = read(), [start, add] = FOLDS.get(token.is);
      return indices.reduceRight(({ value, cost }, index, n) => {
        this.bound.delete(words[n].is);
        this.sized(index, words[n]);
        const fold = (total = start) => {
          for (index.at = 0; index.at < index.size; index.at++) total = add(total, value());
          return total;
        };
        return { value: fold, cost: 1 + index.size * cost };
      }, body);
    }
    sized({ name, size }, place) {
      if (size === undefined) fail("size", place, `nothing says how far ${name} runs: it stands alone on no axis`);
    }
  }

  function evaluate(text, scope) {
    const whole = { start: 0, end: text.length };
    if (text.length > MOST.characters) fail("long", whole, `this is longer than ${MOST.characters} characters`);
    const reader = new Reader(text, scope), left = reader.left;
    if (!reader.token) fail("empty", whole, "there is nothing here yet");
    const root = reader.operators();
    if (reader.token) reader.stuck();
    left.forEach((index) => reader.sized(index, whole));
    const shape = left.map((index) => index.size), length = count(shape);
    if (length * root.cost > MOST.steps) fail("much", whole, `this takes more than ${MOST.steps / 1e6} million steps`);
    const value = (_, n) => (places(n, shape).forEach((at, d) => (left[d].at = at)), root.value());
    return { shape, data: Float64Array.from({ length }, value) };
  }

  /* The verdict of the book's checks: the largest difference, as a share of the largest number expected */
  function compare(found, expected, tolerance, { scale, nan = false } = {}) {
    const { shape, data } = expected, verdict = { passed: false, tolerance, count: data.length, error: NaN };
    if (`${found.shape}` !== `${shape}`) return { ...verdict, problem: `shapes [${found.shape}] and [${shape}] differ` };
    if (!data.length) return { ...verdict, problem: "there is nothing to compare" };
    const both = (a, b) => nan && Number.isNaN(a) && Number.isNaN(b);
    const gaps = Array.from(data, (x, n) => (both(x, found.data[n]) ? 0 : Math.abs(x - found.data[n])));
    const wild = gaps.findIndex((gap) => !Number.isFinite(gap));
    const n = wild < 0 ? gaps.reduce((worst, gap, at) => (gap > gaps[worst] ? at : worst), 0) : wild;
    const size = scale ?? data.reduce((most, x) => Math.max(most, Math.abs(x) || 0), 0), error = gaps[n] / (size || 1);
    Object.assign(verdict, { at: places(n, shape), found: found.data[n], expected: data[n] });
    if (wild >= 0) return { ...verdict, problem: "not a finite number" };
    if (!size && scale === undefined && error) return { ...verdict, error, problem: "zero is expected everywhere" };
    return { ...verdict, error, passed: error <= tolerance };
  }

  /* "at j = 2: yours −0.31, the kernel −0.29", with as many digits as tell the two apart */
  function sayWorst({ at, found, expected, problem }, names = [], by = "the kernel") {
    if (!at) return problem;
    let digits = 2;
    while (digits < 17 && found !== expected && shown(found, digits) === shown(expected, digits)) digits++;
    const place = at.map((n, d) => `${names[d]} = ${n}`).join(", ");
    return `${place && `at ${place}: `}yours ${shown(found, digits)}, ${by} ${shown(expected, digits)}`;
  }

  return { Mistake, evaluate, compare, sayWorst };
})();
