/* Interactives of the chapter on training. */
"use strict";

/* One number of a batch is changed: which results change with it, in batch norm, in layer norm and in inference. */
interactives.register("normalized", (stage) => {
  const BATCH = [[0, 9, -2], [1.2, 12, -5], [-0.7, 6, -4], [0.4, 10, -1], [-1.5, 14, -3], [0.6, 7, -3]], one = [1, 1, 1], none = [0, 0, 0];
  const METHODS = {
    "batch norm": ["batchnorm", [one, none, 1e-5], "Mean and variance are those of its feature in this batch"],
    "layer norm": ["layernorm", [one, none, 1e-5], "Mean and variance are those of its example, and the batch does not matter"],
    "inference": ["normalize", [[0, 10, -3], [4, 9, 2], 1e-5], "Mean and variance are those that batch norm kept from training"],
  };
  stage.choice("method", "method", Object.keys(METHODS));
  stage.slider("number", "the framed number", { min: -8, max: 8, step: 0.1, value: 5 });
  stage.slider("examples", "examples in the batch", { min: 1, max: 6, step: 1, value: 6 });
  const chart = stage.chart({ wide: 340 });
  return () => {
    const { method, number, examples } = stage.values, { shown } = interactives, [kernel, given, reason] = METHODS[method];
    const batch = (first) => BATCH.slice(0, examples).map((row, n) => (n ? row : [first, ...row.slice(1)]));
    const apply = (rows) => stage.call(`training.${kernel}`, rows, ...given), x = batch(number), y = apply(x), more = apply(batch(number + 1));
    const gaps = y.map((row, n) => row.map((value, j) => Math.abs(value - more[n][j]))), most = Math.max(...gaps.flat());
    const size = 42, rounded = (rows) => rows.map((row) => row.map((value) => Number(value.toFixed(2))));
    const changed = gaps.flat().filter((gap) => gap > 0).length;
    chart.clear(22 + 6 * size);
    const before = [20, x, 15, (n, j) => n + j === 0, "before"], after = [chart.width - 3 * size, y, 2.2, (n, j) => gaps[n][j] > 0, "after"];
    for (const [left, rows, full, marked, title] of [before, after])
      chart.squares(rounded(rows), { left, top: 20, size, most: full, numbers: true, marked, across: `${title}: features`, down: "examples" });
    const words = method === "batch norm" && examples === 1 ? "A batch of one is its own mean. Whatever it holds, batch norm makes it 0."
      : `From the framed ${shown(number)} comes ${shown(y[0][0], 2)}. Raised by 1, it would change ${changed} of the ${3 * examples} results `
        + `(framed), by up to ${shown(most, 2)}. ${reason}.`;
    stage.say(words, { x, y, more });
  };
});

/* Dropout on eight activations: one mask, and what many masks leave on average. */
interactives.register("dropped", (stage) => {
  const A = [1.4, 0.5, 3, 0.9, 2.2, 0.3, 1.8, 1.1], units = A.map((_, j) => j + 1), { shown } = interactives, { uniform } = interactives.random(4);
  const fresh = () => Array.from({ length: 512 }, () => A.map(uniform)), add = (row) => row.reduce((sum, x) => sum + x, 0);
  let u = fresh();
  stage.slider("p", "probability p", { min: 0, max: 0.8, step: 0.05, value: 0.5 });
  stage.slider("log", "masks in the mean", { min: 0, max: 9, step: 1, value: 6, told: (log) => String(2 ** log) });
  stage.box("divided", "divide by 1 − p", true);
  stage.button("Draw other masks", () => (u = fresh()));
  const one = stage.chart({ height: 180, xlabel: "unit", ylabel: "one mask", names: true });
  const means = stage.chart({ height: 180, xlabel: "unit", ylabel: "mean", names: true });
  return () => {
    const { p, log, divided } = stage.values, many = 2 ** log, masks = u.slice(0, many), factor = divided ? 1 / (1 - p) : 1;
    const y = stage.call("training.dropout", masks.map(() => A), masks, p).map((row) => row.map((x) => (divided ? x : x * (1 - p))));
    const mean = A.map((_, j) => add(y.map((row) => row[j])) / many), gone = masks[0].map((x) => x < p), count = gone.filter(Boolean).length;
    for (const [chart, rows] of [[one, y[0]], [means, mean]]) {
      chart.range([0.4, 8.6], [0, 1.1 * Math.max(...A, ...rows)]);
      chart.clear();
      chart.bars(units.map((x) => x - 0.19), A, 0, 0.34);
      chart.bars(units.map((x) => x + 0.19), rows, 1, 0.34);
      units.forEach((x) => chart.text(x, 0, x, { "text-anchor": "middle", dy: 14 }));
    }
    units.forEach((x, j) => gone[j] && one.text(x + 0.19, 0, "×", { "text-anchor": "middle", dy: -3 }));
    const others = divided ? `multiplies the others by 1/(1 − p) = ${shown(factor)}` : "leaves the others as they are";
    const above = p === 0 ? "With p = 0 a mask drops no activation, and all stay as they are."
      : count === 8 ? "This mask drops all 8 activations (×)." : `This mask drops ${count || "none"} of 8 activations (×) and ${others} (orange).`;
    const below = many === 1 ? "With it the layer adds up to" : `On average over ${many} masks the layer adds up to`;
    stage.say(`${above} ${below} ${shown(add(mean))}; untouched (blue) it adds up to ${shown(add(A))}`
      + `${divided || p === 0 ? "" : `, of which 1 − p = ${shown(1 - p)} is ${shown((1 - p) * add(A))}`}.`, { y: y[0], mean });
  };
});
