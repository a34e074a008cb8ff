/* Interactives of the chapter on training. */
"use strict";

/* One number of a batch is changed: which results change with it, in batch norm, in layer norm and in inference. */
interactives.register("normalized", (stage) => {
  const BATCH = [[0, 24, 0.3, -2], [1.2, 31, -0.1, -5], [-0.7, 18, 0.1, -4], [0.4, 27, -0.3, -1], [-1.5, 35, 0.2, -3], [0.6, 15, -0.2, -3]];
  const kept = [[0, 25, 0, -3], [4, 49, 0.05, 2]], gamma = [1, 1, 1, 1], beta = [0, 0, 0, 0], eps = 1e-5;
  const METHODS = {
    "batch norm": ["batchnorm", [gamma, beta, eps], "batch norm takes mean and variance of a feature over the batch"],
    "layer norm": ["layernorm", [gamma, beta, eps], "layer norm takes mean and variance over the features of one example"],
    "batch norm in inference": ["normalize", [...kept, eps], "in inference mean and variance are those kept from training"],
  };
  const size = 42, chart = stage.chart({ width: 480, height: 28 + 6 * size + 4 });
  stage.choice("method", "method", Object.keys(METHODS));
  stage.slider("number", "the framed number", { min: -8, max: 8, step: 0.1, value: 5 });
  stage.slider("examples", "examples in the batch", { min: 1, max: 6, step: 1, value: 6 });
  return () => {
    const { method, number, examples } = stage.values, { shown } = interactives, [kernel, given, reason] = METHODS[method];
    const without = BATCH.slice(0, examples), x = without.map((row, n) => (n ? row : [number, ...row.slice(1)]));
    const apply = (rows) => stage.call(`training.${kernel}`, rows, ...given), y = apply(x), y0 = apply(without);
    const gaps = y.map((row, n) => row.map((value, j) => Math.abs(value - y0[n][j])));
    const changed = gaps.flat().filter((gap) => gap > 0).length, most = Math.max(...gaps.flat());
    chart.clear();
    const before = [20, x, 35, (n, j) => n + j === 0, "before"], after = [290, y, 2.2, (n, j) => gaps[n][j] > 0, "after"];
    for (const [left, rows, full, marked, title] of [before, after]) {
      chart.put("text", { x: left + 2 * size, y: 16, "text-anchor": "middle" }, `${title}, features →`);
      chart.put("text", { transform: `translate(${left - 7} 28) rotate(-90)`, "text-anchor": "end" }, "← examples");
      chart.squares(rows, { left, top: 28, size, most: full, numbers: true, marked });
    }
    const words = method === "batch norm" && examples === 1 ? "A batch of one is its own mean: whatever it holds, batch norm makes it 0."
      : changed === 0 ? "The results are those of 0 in the frame. Move the number, and the results that change are framed."
        : `Were the framed number 0 and not ${shown(number)}, ${changed} of ${4 * examples} results would change (framed), `
          + `by ${shown(most, 2)} at most: ${reason}.`;
    stage.say(words, { x, y, y0 });
  };
});
