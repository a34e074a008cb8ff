/* Interactives of the chapter on neurons. */
"use strict";

/* One input, one weight, one bias: where the neuron bends, and how sharply. */
interactives.register("neuron", (stage) => {
  const xs = Array.from({ length: 241 }, (_, i) => (i - 120) / 20);
  const chart = stage.chart({ x: [-6, 6], y: [-0.1, 1.1], xlabel: "input x", ylabel: "output y" });
  stage.slider("w", "weight w", { min: -20, max: 20, step: 0.5, value: 2 });
  stage.slider("b", "bias b", { min: -20, max: 20, step: 0.5, value: -2 });
  return () => {
    const { w, b } = stage.values, { shown } = interactives, inputs = xs.map((x) => [x]);
    const sigmoid = stage.call("neurons.sigmoid_neuron", inputs, [w], b);
    const perceptron = stage.call("neurons.perceptron", inputs, [w], b);
    const [slope] = stage.call("neurons.sigmoid_neuron_slopes", [[w ? -b / w : 0]], [w], b)[1];
    chart.clear();
    chart.line(xs, perceptron, 1, true);
    chart.line(xs, sigmoid, 0);
    const place = w === 0 ? "A weight of 0 leaves the same output everywhere."
      : `The perceptron (orange) switches at x = −b/w = ${shown(-b / w)}; there the sigmoid neuron (blue) gives ½, with the slope w σ′(0) = ${shown(w * slope)}.`;
    stage.say(place, { sigmoid, perceptron });
  };
});
