/* Interactives of the chapter on backpropagation. */
"use strict";

/* A network of 2, 3 and 2 neurons: activations on the way up, errors on the way back, and the gradient of one weight. */
interactives.register("errors", (stage) => {
  const x = [1, 0.6], b = [[-0.5, 0.5, 0.2], [-0.6, -0.4]], w = [[[1.2, -0.8], [5, 2], [-0.9, 1.4]], [[2, 3, -1.5], [-1.6, 2.4, 1.2]]];
  const at = {}, high = "¹²³", low = "₁₂₃";
  w.forEach((rows, l) => rows.forEach((row, j) => row.forEach((_, k) => (at[`w${high[l + 1]}${low[j]}${low[k]}`] = [l, j, k]))));
  const chart = stage.chart({ wide: 560, height: 300 });
  const place = (l, j) => [26 + ((chart.width - 116) / 2) * l, 138 + 94 * (j - (l === 1 ? 1 : 0.5))];
  stage.choice("weight", "weight", Object.keys(at), "w²₂₁");
  stage.slider("value", "its value", { min: -6, max: 6, step: 0.1, value: 5 });
  stage.slider("target", "target y₁ of the first output", { min: 0, max: 1, step: 0.01, value: 0 });
  stage.choice("lines", "lines as thick as", ["the weights", "their gradients"]);
  /* A line is taken by the pointer: pulled up its weight grows, pulled down it falls. */
  const pulled = (edge, name) => {
    edge.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      stage.put({ weight: name });
      stage.draw("weight");
      const from = event.clientY, begin = stage.values.value, move = ({ clientY }) => {
        stage.put({ value: begin + (from - clientY) / 20 });
        stage.draw("value");
      };
      const end = () => removeEventListener("pointermove", move);
      addEventListener("pointermove", move);
      for (const name of ["pointerup", "pointercancel"]) addEventListener(name, end, { once: true });
    });
  };
  return (moved) => {
    const { weight, target, lines } = stage.values, { shown } = interactives, [L, J, K] = at[weight], y = [target, 1];
    if (moved === "weight") stage.put({ value: w[L][J][K] }); // the slider goes to where the other one is
    w[L][J][K] = stage.values.value;
    const [z2, a2] = stage.call("backprop.layer", w[0], b[0], x), [z3, a3] = stage.call("backprop.layer", w[1], b[1], a2);
    const delta3 = stage.call("backprop.bp1", stage.call("backprop.quadratic_cost_gradient", a3, y), z3);
    const delta2 = stage.call("backprop.bp2", w[1], delta3, z2), a = [x, a2, a3], delta = [[], delta2, delta3];
    const gradients = [stage.call("backprop.bp4", x, delta2), stage.call("backprop.bp4", a2, delta3)];
    const cost = stage.call("backprop.quadratic_cost", a3, y), [slope] = stage.call("backprop.bp1", [1], [[z2, z3][L][J]]); // σ′ times 1
    const most = (...rows) => Math.max(...rows.flat(3).map(Math.abs), 1e-300), drawn = lines === "the weights" ? w : gradients;
    chart.clear();
    for (const [name, [l, j, k]] of Object.entries(at)) {
      const [x1, y1] = place(l, k), [x2, y2] = place(l + 1, j), width = 0.5 + (9 * Math.abs(drawn[l][j][k])) / most(drawn), ends = { x1, y1, x2, y2 };
      if (l === L && j === J && k === K) chart.put("line", { ...ends, stroke: "var(--color-foreground-primary)", "stroke-width": width + 4 });
      chart.put("line", { ...ends, class: drawn[l][j][k] < 0 ? "s0" : "s1", stroke: "var(--series)", "stroke-width": width });
      pulled(chart.put("line", { ...ends, class: "grip", stroke: "transparent", "stroke-width": 18 }), name);
    }
    a.forEach((row, l) => row.forEach((activation, j) => {
      const [cx, cy] = place(l, j), error = delta[l][j] ?? 0, circle = { cx, cy, r: 22, stroke: "var(--color-foreground-border)" };
      const text = (words, dx, dy) => chart.put("text", { x: cx + dx, y: cy + dy, "text-anchor": dx ? "start" : "middle" }, words);
      chart.put("circle", { ...circle, fill: "var(--color-background-primary)" });
      chart.put("circle", { ...circle, class: `dot ${error < 0 ? "s0" : "s1"}`, "fill-opacity": ((0.6 * Math.abs(error)) / most(delta)).toFixed(3) });
      text(shown(Number(activation.toFixed(3))), 0, 4);
      if (l) text(`δ ${shown(error, 2)}`, ...(l === 1 ? [0, 38] : [26, -4]));
      if (l === 2) text(`y ${shown(y[j])}`, 26, 13);
    }));
    const factors = `${shown(a[L][K])} × ${shown(delta[L + 1][J])} = ${shown(gradients[L][J][K])}`;
    stage.say(`The gradient of ${weight} is a${high[L]}${low[K]} δ${high[L + 1]}${low[J]} = ${factors}; the neuron it leads to has the slope `
      + `σ′ = ${shown(slope, 2)}, where ¼ would be the most. The cost is ${shown(cost)}, the largest error ${shown(most(delta3), 2)} in the output `
      + `and ${shown(most(delta2), 2)} in layer 2.`, { w: w.map((rows) => rows.map((row) => [...row])), a, delta, gradients, cost });
  };
});
