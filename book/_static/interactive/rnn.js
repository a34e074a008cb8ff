/* Interactives of the chapter on recurrent networks. */
"use strict";

/* How large an error arrives, by how many steps it was carried back, and by the spectral radius of the weights. */
interactives.register("fading", (stage) => {
  const STEPS = 30, J = 4, start = [[0.6, -0.8, 0.3, 0.1], [0.5, 0.4, -0.9, 0.2], [-0.4, 0.7, 0.5, -0.6], [0.2, -0.3, 0.6, 0.8]];
  const chart = stage.chart({ x: [0, STEPS], y: [-8, 4], xlabel: "steps back", ylabel: "log₁₀ of the norm" });
  stage.slider("rho", "spectral radius of the weights", { min: 0.3, max: 2, step: 0.05, value: 0.8 });
  stage.slider("input", "size of the inputs", { min: 0, max: 2, step: 0.1, value: 0 });
  const own = 1.3664677813675032; // its spectral radius, by NumPy's eigvals
  return () => {
    const { rho, input } = stage.values, wh = start.map((row) => row.map((x) => (x * rho) / own));
    const wx = [[1], [-1], [1], [-1]], states = [Array(J).fill(0)];
    for (let t = 0; t < STEPS; t++) states.push(stage.call("rnn.state", [input * Math.cos(t)], states[t], wx, wh, Array(J).fill(0)));
    const norms = states.map((_, back) => {
      const product = stage.call("rnn.jacobian_product", states.slice(STEPS - back), wh);
      return Math.sqrt(product.flat().reduce((sum, x) => sum + x * x, 0));
    });
    const steps = norms.map((_, t) => t);
    chart.clear();
    chart.line(steps, steps.map((t) => Math.log10(norms[0]) + t * Math.log10(rho)), 1, true);
    chart.line(steps, norms.map((x) => Math.log10(x)), 0);
    const words = `After ${STEPS} steps back the Jacobian (blue) has the norm ${interactives.shown(norms[STEPS], 2)}, at first ${interactives.shown(norms[0], 2)}. `
      + `Dashed: what the spectral radius ${interactives.shown(rho)} alone would make of it${input ? "; inputs bend the states, and the slope of tanh takes its share" : ""}.`;
    stage.say(words, { norms });
  };
});
