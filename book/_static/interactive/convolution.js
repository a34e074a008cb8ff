/* Interactives of the chapter on convolution. */
"use strict";

/* A filter steps over an image: which places it reads for each place of its result. */
interactives.register("stepper", (stage) => {
  const FILTERS = {
    "vertical edges": [[1, 0, -1], [1, 0, -1], [1, 0, -1]], "horizontal edges": [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
    mean: Array.from({ length: 3 }, () => [1 / 9, 1 / 9, 1 / 9]), "one place": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
  };
  const image = Array.from({ length: 8 }, (_, i) => Array.from({ length: 8 }, (_, j) => Number(Math.hypot(i - 3.5, j - 3.5) < 3)));
  const chart = stage.chart({ height: 300 });
  let size = 6, row = 2, column = 0;
  stage.choice("filter", "filter", Object.keys(FILTERS));
  for (const [name, label, min, max] of [["stride", "stride S", 1, 3], ["padding", "padding P", 0, 2], ["dilation", "dilation D", 1, 3]])
    stage.slider(name, label, { min, max, step: 1, value: min });
  const told = (n) => `row ${Math.floor(n / size)}, column ${n % size}`;
  stage.slider("place", "place in the map", { min: 0, max: size * size - 1, step: 1, value: row * size + column, told });
  return (moved) => {
    const { filter, stride, padding, dilation, place } = stage.values, w = FILTERS[filter], wide = 8 + 2 * padding;
    if (moved === "place") [row, column] = [Math.floor(place / size), place % size];
    const padded = Array.from({ length: wide }, (_, i) => Array.from({ length: wide }, (_, j) => image[i - padding]?.[j - padding] ?? 0));
    size = stage.call("convolution.size_after", 8, 3, stride, padding, dilation);
    const [[map]] = stage.call("convolution.conv", [[padded]], [[w]], [0], [stride, stride], [dilation, dilation], 1);
    [row, column] = [Math.min(row, size - 1), Math.min(column, size - 1)];
    stage.inputs.place.max = size * size - 1;
    stage.put({ place: row * size + column });
    const read = (i, j) => [i - row * stride, j - column * stride].every((steps) => [0, dilation, 2 * dilation].includes(steps));
    chart.clear();
    const narrow = chart.width < 560, most = narrow ? 22 : 26, top = 24; // on a narrow page the map stands below the image
    const pixel = Math.min(most, (narrow ? chart.width - 126 : 252) / wide), [second, third] = narrow ? [pixel * wide + 24, 2] : [290, 400];
    const below = narrow ? top + pixel * wide + 28 : top, square = Math.min(most, 236 / size);
    chart.clear(Math.max(below + square * size, top + pixel * wide) + 6);
    const titles = [[2, top, padding ? "image and frame of zeros" : "image"], [second, top, "filter"], [third, below, `map, ${size} × ${size}`]];
    for (const [x, y, title] of titles) chart.put("text", { x, y: y - 8 }, title);
    chart.squares(padded, { left: 2, top, size: pixel, most: 1, marked: read });
    const inner = { x: 1.5 + padding * pixel, y: top + padding * pixel - 0.5, width: 8 * pixel, height: 8 * pixel };
    if (padding) chart.put("rect", { class: "around", ...inner });
    chart.squares(w, { left: second, top, size: 32, most: 1, numbers: true });
    chart.squares(map, { left: third, top: below, size: square, marked: (i, j) => i === row && j === column });
    const sizes = `a filter of 3 × 3, stride ${stride}, dilation ${dilation}: a map of ${size} × ${size}`;
    const frame = padding ? `, with its frame of zeros ${wide} × ${wide}` : "";
    stage.say(`An image of 8 × 8${frame}; ${sizes}. Its place in ${told(row * size + column)} is the sum `
      + `of the nine framed numbers times the weights, ${interactives.shown(map[row][column], 2)}. Orange is above zero, blue below.`, { map, size });
  };
});
