/* Interactives of the chapter on recurrent networks. */
"use strict";

/* How large an error arrives, by how many steps it was carried back, and by the spectral radius of the weights. */
interactives.register("fading", (stage) => {
  const STEPS = 30, J = 4, start = [[0.6, -0.8, 0.3, 0.1], [0.5, 0.4, -0.9, 0.2], [-0.4, 0.7, 0.5, -0.6], [0.2, -0.3, 0.6, 0.8]];
  const RADIUS = 1.3664677813675032, NORM = 1.5414888545129184; // spectral radius and norm of these, by NumPy's eigvals and norm
  const chart = stage.chart({ x: [0, STEPS], y: [-20, 10], xlabel: "steps back", ylabel: "log₁₀ of the length" });
  stage.slider("rho", "spectral radius of the weights", { min: 0.5, max: 1.5, step: 0.05, value: 1.2 });
  stage.slider("input", "size of the inputs", { min: 0, max: 1, step: 0.05, value: 1 });
  const { shown } = interactives, told = (x) => (x < 1e4 ? shown(x, 2) : x.toExponential(1).replace("e+", "e"));
  return () => {
    const { rho, input } = stage.values, wh = start.map((row) => row.map((x) => (x * rho) / RADIUS)), norm = (NORM * rho) / RADIUS;
    const wx = [[1], [-1], [1], [-1]], states = [Array(J).fill(0)], steps = Array.from({ length: STEPS + 1 }, (_, t) => t);
    for (const t of steps) states.push(stage.call("rnn.state", [input * Math.cos(t)], states[t], wx, wh, Array(J).fill(0)));
    const from = steps.map((t) => Array(J).fill(t === STEPS ? 0.5 : 0)); // an error of length 1, after the last step
    const length = stage.call("rnn.deltas", from, states, wh).map((delta) => Math.hypot(...delta)).reverse();
    const bound = steps.map((t) => stage.call("rnn.spectral_bound", norm, 1, t)), alone = steps.map((t) => length[0] * rho ** t);
    chart.clear();
    const log = (xs) => xs.map((x) => Math.log10(x));
    chart.line(steps, log(bound), 2);
    chart.line(steps, log(alone), 1, true);
    chart.line(steps, log(length), 0);
    const most = Math.max(...states.flat().map(Math.abs));
    stage.say(`After ${STEPS} steps back the error (blue) is ${told(length[STEPS])} long, at first ${told(length[0])}. `
      + `The spectral radius ${shown(rho)} alone (orange, dashed) would make ${told(alone[STEPS])} of it, `
      + `the norm ${shown(norm)} allows ${told(bound[STEPS])} (green, above both). `
      + (input ? `States of up to ${shown(most, 2)} make slopes of the tanh as small as ${shown(1 - most ** 2, 2)}.`
        : "Without inputs all states are zero, and all slopes 1."), { length });
  };
});
