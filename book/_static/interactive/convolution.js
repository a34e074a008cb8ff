/* Interactives of the chapter on convolution. */
"use strict";

/* A filter steps over an image: which places it reads for each place of its result. */
interactives.register("stepper", (stage) => {
  const FILTERS = {
    "vertical edges": [[1, 0, -1], [1, 0, -1], [1, 0, -1]], "horizontal edges": [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
    mean: Array.from({ length: 3 }, () => [1 / 9, 1 / 9, 1 / 9]), "one place": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
  };
  const image = Array.from({ length: 8 }, (_, i) => Array.from({ length: 8 }, (_, j) => Number(Math.hypot(i - 3.5, j - 3.5) < 3)));
  const chart = stage.chart({ width: 640, height: 270 });
  stage.choice("filter", "filter", Object.keys(FILTERS));
  for (const [name, label, min, max, value] of [["stride", "stride S", 1, 3, 1], ["padding", "padding P", 0, 2, 0], ["dilation", "dilation D", 1, 3, 1]])
    stage.slider(name, label, { min, max, step: 1, value });
  stage.slider("place", "place in the result", { min: 0, max: 1, step: 0.001, value: 0, told: (x) => `${Math.round(100 * x)} %` });
  return () => {
    const { filter, stride, padding, dilation, place } = stage.values, w = FILTERS[filter], wide = 8 + 2 * padding;
    const padded = Array.from({ length: wide }, (_, i) => Array.from({ length: wide }, (_, j) => image[i - padding]?.[j - padding] ?? 0));
    const size = stage.call("convolution.size_after", 8, 3, stride, padding, dilation);
    const [[result]] = stage.call("convolution.conv", [[padded]], [[w]], [0], [stride, stride], [dilation, dilation], 1);
    const n = Math.round(place * (size * size - 1)), row = Math.floor(n / size), column = n % size;
    const read = (i, j) => {
      const [u, v] = [(i - row * stride) / dilation, (j - column * stride) / dilation];
      return [0, 1, 2].includes(u) && [0, 1, 2].includes(v);
    };
    chart.clear();
    const square = Math.min(30, 250 / wide);
    chart.squares(padded, { top: 10, size: square, most: 1, marked: read });
    chart.squares(w, { left: 290, top: 10, size: 30, most: 1, numbers: filter !== "mean" });
    chart.squares(result, { left: 400, top: 10, size: square, marked: (i, j) => i === row && j === column });
    const words = `${wide} × ${wide} with its margin, a 3 × 3 filter, stride ${stride}, dilation ${dilation}: ${size} × ${size} places. `
      + `Place (${row}, ${column}) reads the framed ones and is ${interactives.shown(result[row][column], 2)}.`;
    stage.say(words, { result, size });
  };
});
