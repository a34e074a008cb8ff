/* Interactives of the chapter on architectures. */
"use strict";

/* What a unit on top of a stack sees along one axis, and along how many paths. */
interactives.register("field", (stage) => {
  const chart = stage.chart({ height: 300 });
  stage.slider("layers", "layers L", { min: 1, max: 4, step: 1, value: 4 });
  stage.slider("side", "side F of the filters", { min: 1, max: 5, step: 1, value: 3 });
  stage.slider("stride", "stride S", { min: 1, max: 3, step: 1, value: 2 });
  stage.choice("where", "stride in", ["all layers", "the lowest", "the highest"]);
  return () => {
    const { layers, side, stride, where } = stage.values, F = Array(layers).fill(side), ones = Array(layers).fill(1);
    const S = ones.map((_, l) => (where === "all layers" || l === (where === "the lowest" ? 0 : layers - 1) ? stride : 1));
    const field = stage.call("architectures.receptive_field", F, S), plain = stage.call("architectures.receptive_field", F, ones);
    const [stack, single] = stage.call("architectures.stack_parameters", side, 1, layers);
    const rows = [[1]]; // along how many paths each place is seen, from the top down
    for (let l = layers - 1; l >= 0; l--) {
      const apart = rows[0].flatMap((paths, i) => (i ? [...Array(S[l] - 1).fill(0), paths] : [paths]));
      rows.unshift(stage.call("architectures.stack_filter", [[[Array(side).fill(1)]]], [[[apart]]])[0][0][0]);
    }
    chart.clear();
    const wide = Math.min(26, (chart.width - 4) / field), first = [0], step = [1]; // where a row begins and how far apart its places are, in pixels
    S.forEach((s, l) => {
      first.push(first[l] + ((side - 1) / 2) * step[l]);
      step.push(step[l] * s);
    });
    const x = (l, i) => chart.width / 2 + (first[l] + i * step[l] - (field - 1) / 2) * wide, y = (l) => 268 - (l * 238) / layers;
    const edge = { stroke: "var(--color-foreground-border)", "stroke-width": 0.5 }, name = { x: chart.width / 2, "text-anchor": "middle" };
    chart.put("text", { ...name, y: 14 }, `one unit of layer ${layers}`);
    chart.put("text", { ...name, y: 296 }, "pixels along one axis");
    rows.forEach((row, l) => row.forEach((paths, i) => {
      for (let u = 0; l && paths && u < side; u++)
        chart.put("line", { ...edge, x1: x(l, i), y1: y(l), x2: x(l - 1, i * S[l - 1] + u), y2: y(l - 1) });
    }));
    rows.forEach((row, l) => row.forEach((paths, i) => {
      const dot = { ...edge, cx: x(l, i), cy: y(l), r: Math.min(8, 0.42 * wide * step[l]) }, strength = 0.2 + (0.8 * paths) / Math.max(...row);
      if (paths || l === 0) chart.put("circle", { ...dot, fill: "var(--color-background-primary)" });
      if (paths) chart.put("circle", { ...dot, class: `dot s${Number(l === layers)}`, "fill-opacity": strength.toFixed(3) });
    }));
    const seen = rows[0].filter(Boolean).length, most = Math.max(...rows[0]), gaps = seen < field ? `, of which it sees ${seen}` : "";
    const size = `${field} pixel${field > 1 ? "s" : ""}${gaps}`, numbers = { field, plain, rows, stack, single };
    const along = most > 1 ? `along 1 to ${most} paths each (faint to strong)` : "along one path each";
    const without = field === plain ? "A stack with stride 1 everywhere sees as much" : `With stride 1 everywhere it would be ${plain}`;
    stage.say(`The unit on top (orange) has a receptive field of ${size}, ${along}. ${without}; `
      + `the weights for each pair of channels are ${stack} in such a stack and ${single} in one filter that sees as far.`, numbers);
  };
});
