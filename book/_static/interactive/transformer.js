/* Interactives of the chapter on the transformer. */
"use strict";

/* The stored decoder as its page describes it: what goes in, what each head looks at, what comes out. */
function decoderOf(stage) {
  const { flat, shapes, symbols, unknown, blocks, heads, norm } = stage.learned, at = {};
  let start = 0;
  for (const [name, shape] of shapes) {
    const size = shape.reduce((a, b) => a * b, 1);
    at[name] = { shape, data: flat.data.subarray(start, start + size) };
    start += size;
  }
  const [V, M] = at["net.tokens.w"].shape, [C] = at["net.positions.w"].shape, I = M / heads;
  /* A head's columns of some rows, below those that it has already */
  const below = (rows, h, had = { shape: [0, I], data: [] }) => {
    const data = Float64Array.of(...had.data, ...rows.flatMap((row) => row.slice(h * I, (h + 1) * I)));
    return { shape: [had.shape[0] + rows.length, I], data };
  };
  const plus = (a, b) => a.map((row, t) => row.map((x, m) => x + b[t][m]));
  const places = Array.from({ length: C }, (_, c) => Array.from(at["net.positions.w"].data.subarray(c * M, (c + 1) * M)));

  const length = (kept) => kept[0]?.[0][0].shape[0] ?? 0;

  /* Read some more symbols; `kept` holds keys and values of those before, and is added to. Returns the scores after the
     last one, and for each block and head the weights with which the new ones look at all. */
  function read(ids, kept = []) {
    const before = length(kept), looks = [], T = ids.length;
    const own = (block, name) => at[`net.blocks[${block}].${name}`];
    const normed = (x, name) => stage.call("training.layernorm", x, at[`${name}.gamma`], at[`${name}.beta`], norm);
    let x = stage.call("transformer.embedded", ids, at["net.tokens.w"], places.slice(before, before + T));
    const mask = stage.call("attention.causal_mask", T, before + T, before).map((row) => row.map(Boolean));
    for (let block = 0; block < blocks; block++) {
      const n = normed(x, `net.blocks[${block}].norm`), one = {};
      for (const name of ["q", "k", "v"])
        one[name] = stage.call("neurons.affine", n, own(block, `attention[0].w${name}`), own(block, `attention[0].b${name}`));
      kept[block] = Array.from({ length: heads }, (_, h) => ["k", "v"].map((name, i) => below(one[name], h, kept[block]?.[h][i])));
      const found = kept[block].map(([k, v], h) => {
        const scores = stage.call("attention.scaled_scores", below(one.q, h), k);
        const weights = stage.call("attention.masked_softmax", scores, mask);
        return [weights, stage.call("attention.soft_lookup", weights, v)];
      });
      looks.push(found.map(([weights]) => weights));
      const joined = x.map((_, t) => found.flatMap(([, looked]) => looked[t]));
      x = plus(x, stage.call("neurons.affine", joined, own(block, "attention[0].wo"), own(block, "attention[0].bo")));
      const z = stage.call("neurons.affine", normed(x, `net.blocks[${block}].norm2`), own(block, "feed[0].w"), own(block, "feed[0].b"));
      const a = Float64Array.from(stage.call("neurons.gelu_tanh", z.flat())); // the form of GELU that layers have
      x = plus(x, stage.call("neurons.affine", { shape: [T, z[0].length], data: a }, own(block, "feed[2].w"), own(block, "feed[2].b")));
    }
    const [scores] = stage.call("transformer.tied", normed(x.slice(-1), "net.norm"), at["net.tokens.w"]);
    return { scores, looks, kept };
  }
  const known = new Map([...symbols].map((symbol, w) => [symbol, w])), strange = known.get(unknown);
  const encode = (text) => [...text].map((symbol) => known.get(symbol) ?? strange);
  const lacking = (text) => [...new Set([...text].filter((symbol) => !known.has(symbol)))];
  return { read, length, encode, lacking, symbols: [...symbols], longest: C, V };
}

/* A symbol as it is shown: what leaves no ink has a sign */
const seenAs = (symbol) => ({ "\n": "↵", " ": "␣" })[symbol] ?? symbol;

/* The decoder goes on with what a reader has begun. */
interactives.register("prompt", (stage) => {
  const decoder = decoderOf(stage), { random, element, shown } = interactives, EMPTY = "\n\n  ", AGAIN = 64;
  stage.typed("start", "beginning", "The ", 60);
  stage.slider("tau", "temperature τ", { min: 0.1, max: 2, step: 0.05, value: 0.8 });
  stage.slider("K", "top-k: symbols kept", { min: 1, max: decoder.V, step: 1, value: decoder.V });
  stage.slider("mass", "nucleus: probability ρ", { min: 0.05, max: 1, step: 0.01, value: 0.9 });
  stage.slider("block", "attention of block", { min: 1, max: stage.learned.blocks, step: 1, value: 2 });
  const text = stage.passage(), bars = stage.chart({ height: 190, x: [-0.6, 9.6], y: [0, 1], ylabel: "probability", names: true });
  const looks = stage.chart({ height: 90 });
  const draw = random(2026);
  let ids, given, now;
  const begin = () => {
    given = decoder.encode(EMPTY + stage.values.start);
    ids = [...given];
    now = decoder.read(ids);
  };
  /* Probabilities of the next symbol: tempered, and what both cuts leave of them */
  const next = () => {
    const { tau, K, mass } = stage.values, p = stage.call("language_models.temper", now.scores, tau);
    return { p, q: stage.call("transformer.nucleus", stage.call("transformer.top_k", p, K), mass) };
  };
  const write = () => {
    const { q } = next(), u = draw.uniform();
    let sum = 0, w = q.findIndex((share) => (sum += share) > u);
    if (w < 0) w = q.indexOf(Math.max(...q)); // the sum was a little less than one
    ids.push(w);
    stage.calls = []; // of a text the last symbol's are kept
    const full = decoder.length(now.kept) === decoder.longest; // all places are taken: the last ones begin anew
    now = full ? decoder.read(ids.slice(-AGAIN)) : decoder.read([w], now.kept);
  };
  const more = () => { // to the end of a word, where much can follow
    const ended = () => /\S $/.test(ids.slice(-2).map((w) => decoder.symbols[w]).join(""));
    for (let n = 0; n < 70 || (n < 100 && !ended()); n++) write();
  };
  stage.button("write on", more);
  stage.button("begin again", () => { begin(); more(); });
  return (moved) => {
    if (!ids) begin(), more();
    if (moved === "start") begin();
    const { p, q } = next(), first = p.map((_, w) => w).sort((a, b) => p[b] - p[a]).slice(0, 10), signs = ids.map((w) => decoder.symbols[w]);
    const part = (name, from, to) => element(name, {}, signs.slice(from, to).join(""));
    text.replaceChildren(part("span", EMPTY.length - 2, given.length), part("mark", given.length));
    bars.range([-0.6, 9.6], [0, Math.max(...p, ...q) > 0.5 ? 1.02 : 0.52]);
    bars.clear();
    bars.bars(first.map((_, n) => n), first.map((w) => p[w]), 3);
    bars.bars(first.map((_, n) => n), first.map((w) => q[w]), 0, 0.4);
    first.forEach((w, n) => bars.text(n, 0, seenAs(decoder.symbols[w]), { "text-anchor": "middle", dy: 15 }));
    looks.clear();
    const { block } = stage.values, heads = now.looks[block - 1].map((rows) => rows.at(-1)), { length } = heads[0];
    const count = Math.min(length, Math.floor((looks.width - 60) / 11)), read = signs.slice(-length);
    looks.squares(heads.map((row) => row.slice(-count)), { left: 54, top: 24, size: 14, wide: 11, most: 1 });
    read.slice(-count).forEach((sign, n) => looks.put("text", { x: 59 + n * 11, y: 16, "text-anchor": "middle" }, seenAs(sign)));
    heads.forEach((_, h) => looks.put("text", { x: 48, y: 36 + h * 14, "text-anchor": "end" }, `head ${h + 1}`));
    const left = q.filter((share) => share > 0).length, strange = decoder.lacking(stage.values.start), tops = heads.map((row) => Math.max(...row));
    const h = tops.indexOf(Math.max(...tops)), s = heads[h].indexOf(tops[h]), back = length - 1 - s;
    const where = back === 0 ? "the last one" : `${back} before the last`;
    stage.say(`${strange.length ? `It has never seen ${strange.join(" ")}. ` : ""}After ${ids.length} symbols the likeliest next one is `
      + `“${seenAs(decoder.symbols[first[0]])}”, with ${shown(100 * p[first[0]], 2)} %; ${left} of ${decoder.V} are left to draw from (blue). `
      + `Below, what the heads of block ${block} look at from the last symbol: head ${h + 1} is the surest, with ${shown(100 * tops[h], 2)} % `
      + `on “${seenAs(read[s])}”, ${where}.`, { ids: [...ids], scores: now.scores, p, q });
  };
});

/* Where each head looks, for each symbol of a sentence. */
interactives.register("looks", (stage) => {
  const decoder = decoderOf(stage), { shown } = interactives;
  stage.typed("text", "text", "Mr Dursley and Mrs Dursley", 32);
  stage.slider("block", "block", { min: 1, max: stage.learned.blocks, step: 1, value: 1 });
  stage.slider("head", "head", { min: 1, max: stage.learned.heads, step: 1, value: 4 });
  const chart = stage.chart({ height: 300 });
  let found, of, asked;
  return () => {
    const { text, block, head } = stage.values, symbols = [..."\n" + text], ids = decoder.encode(symbols.join("")), T = ids.length;
    if (of !== text) [found, of, asked] = [decoder.read(ids), text, stage.calls];
    stage.calls = asked;
    const weights = found.looks[block - 1][head - 1], far = (n) => weights.reduce((sum, row, t) => sum + (t >= n ? row[t - n] : 0), 0) / Math.max(T - n, 1);
    chart.clear(60);
    const size = Math.min(16, Math.floor((chart.width - 30) / T));
    chart.clear(T * size + 44);
    chart.squares(weights, { left: 24, top: 40, size, most: 1 });
    symbols.forEach((symbol, t) => {
      chart.put("text", { x: 24 + (t + 0.5) * size, y: 34, "text-anchor": "middle" }, seenAs(symbol));
      if (size >= 12) chart.put("text", { x: 18, y: 40 + (t + 0.5) * size + 4, "text-anchor": "end" }, seenAs(symbol));
    });
    if (size < 12) chart.put("text", { transform: `translate(16 ${40 + (T * size) / 2}) rotate(-90)`, "text-anchor": "middle" }, "← from the same text");
    chart.put("text", { x: 24, y: 14 }, "where it looks →");
    const strange = decoder.lacking(text);
    stage.say(`${strange.length ? `It has never seen ${strange.join(" ")}. ` : ""}Each row is a symbol and shows how head ${head} of block ${block} spreads its look over `
      + `all symbols up to this one. In the mean ${shown(100 * far(0), 2)} % rests on the symbol itself, ${shown(100 * far(1), 2)} % on the one before.`,
    { ids, weights });
  };
});

/* What top-k and the nucleus keep after two beginnings: one that has a single continuation, and one that has many. */
interactives.register("sampling", (stage) => {
  const AFTER = {
    "The capital of France is": [
      ["Paris", "a", "the", "not", "now", "in", "also", "still", "one", "Lyon", "home", "where"],
      [0.88, 0.025, 0.02, 0.018, 0.012, 0.011, 0.009, 0.007, 0.006, 0.005, 0.004, 0.003]],
    "I would like to": [
      ["go", "see", "have", "know", "thank", "say", "be", "make", "stay", "ask", "buy", "of"],
      [0.13, 0.12, 0.115, 0.11, 0.1, 0.09, 0.085, 0.075, 0.07, 0.06, 0.04, 0.005]],
  };
  const rows = Object.entries(AFTER).map(([start, [words, p]]) => ({
    start, words, p, chart: stage.chart({ height: 190, x: [-0.6, 11.6], y: [0, 1], ylabel: "probability", xlabel: " ", names: true }),
  }));
  stage.slider("K", "top-k: words kept K", { min: 1, max: 12, step: 1, value: 4 });
  stage.slider("mass", "nucleus: probability ρ", { min: 0.05, max: 1, step: 0.01, value: 0.9 });
  return () => {
    const { K, mass } = stage.values, { shown } = interactives, numbers = { p: rows.map(({ p }) => p), top: [], nucleus: [] };
    const said = rows.map(({ start, words, p, chart }) => {
      const cuts = { top: stage.call("transformer.top_k", p, K), nucleus: stage.call("transformer.nucleus", p, mass) };
      const high = Math.max(...cuts.top, ...cuts.nucleus) > 0.5 ? 1.05 : 0.55;
      chart.range([-0.6, 11.6], [0, high]);
      chart.clear();
      chart.bars(words.map((_, w) => w), p, 3);
      chart.bars(words.map((_, w) => w - 0.16), cuts.top, 0, 0.28);
      chart.bars(words.map((_, w) => w + 0.16), cuts.nucleus, 1, 0.28);
      words.forEach((word, w) => {
        const [x, y] = chart.at(w, 0), narrow = chart.width < 480;
        const turned = narrow ? { transform: `translate(${x + 4} ${y + 10}) rotate(-50)`, "text-anchor": "end" } : { x, y: y + 15, "text-anchor": "middle" };
        chart.put("text", turned, word);
      });
      chart.text(11.5, high * 0.88, `${start} …`, { "text-anchor": "end" });
      const [top, nucleus] = Object.entries(cuts).map(([name, q]) => {
        numbers[name].push(q);
        const has = p.reduce((sum, x, w) => (q[w] > 0 ? sum + x : sum), 0);
        return [q.filter((x) => x > 0).length, shown(100 * has)];
      });
      return `After “${start}” top-k (blue) keeps ${top[0]} of 12 words with ${top[1]} % of the probability, the nucleus (orange) `
        + `${nucleus[0]} with ${nucleus[1]} %.`;
    });
    stage.say(said.join(" "), numbers);
  };
});
