/* Interactives of the chapter on gated networks. */
"use strict";

/* A number is written into a cell, thirty inputs pass by, and one of them empties it. */
interactives.register("cell", (stage) => {
  const T = 30, WRITTEN = 3, steps = Array.from({ length: T + 1 }, (_, t) => t), axis = { x: [0, T], xlabel: "step t" };
  const passing = steps.map((t) => Math.sin(7 * t * t)); // as irregular as noise
  const cell = stage.chart({ ...axis, height: 210, y: [0, 1], ylabel: "cell c" });
  const gates = stage.chart({ ...axis, height: 140, y: [0, 1], ylabel: "gates" });
  stage.slider("forget", "bias of the forget gate", { min: -4, max: 8, step: 0.5, value: 5 });
  stage.slider("input", "bias of the input gate", { min: -8, max: 4, step: 0.5, value: -5 });
  stage.slider("empty", "an input empties it at step", { min: 5, max: T + 1, step: 1, value: 22, told: (t) => (t > T ? "never" : String(t)) });
  const run = (forget, input, empty) => {
    const c = [[0]], f = [], i = [], state = [[0], [[0]]], one = ([w1, w2, w3], b) => [state[0], [[w1, w2, w3]], state[1], [b]];
    for (let t = 1; t <= T; t++) {
      const x = [Number(t === WRITTEN), Number(t === empty), t === WRITTEN ? 2 : passing[t]]; // write, empty, and what there is to write
      f.push(stage.call("gated.forget_gate", x, ...one([0, -15, 0], forget)));
      i.push(stage.call("gated.input_gate", x, ...one([12, 0, 0], input)));
      c.push(stage.call("gated.cell_state", f[t - 1], c[t - 1], i[t - 1], stage.call("gated.candidate", x, ...one([0, 0, 1], 0))));
    }
    return { c: c.flat(), f, i };
  };
  return () => {
    const { forget, input, empty } = stage.values, { shown } = interactives, { c, f, i } = run(forget, input, empty);
    const half = run(0, input, empty).c, last = empty - 1, [share] = stage.call("gated.cell_gradient", f.slice(WRITTEN, last));
    cell.range([0, T], [1.1 * Math.min(-0.2, ...c, ...half), 1.1 * Math.max(1, ...c, ...half)]);
    cell.clear();
    gates.clear();
    cell.line(steps, half, 3, true);
    cell.line(steps, c, 0);
    cell.points(steps, c, 0, 2.5);
    gates.line(steps.slice(1), f.flat(), 2);
    gates.line(steps.slice(1), i.flat(), 1);
    const left = share < 0.001 ? "less than 0.1 %" : `${shown(100 * share)} %`;
    stage.say(`An input writes at step ${WRITTEN}, and the cell (blue) holds ${shown(c[WRITTEN])}. `
      + `The forget gate (green), ${shown(f[0][0], 4)} at a step, keeps ${left} of it to step ${last}; `
      + `with what the input gate (orange), ${shown(i[0][0])} at a step, lets in, the cell then holds ${shown(c[last])}. `
      + "Dashed: the same with the forget bias 0, a gate of ½.", { c, f, i, share });
  };
});
