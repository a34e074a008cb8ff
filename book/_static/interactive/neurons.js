/* Interactives of the chapter on neurons. */
"use strict";

/* One input, one weight, one bias: where the neuron switches, and how sharply. */
interactives.register("neuron", (stage) => {
  const xs = Array.from({ length: 481 }, (_, i) => (i - 240) / 40);
  const chart = stage.chart({ x: [-6, 6], y: [-0.1, 1.1], xlabel: "input x", ylabel: "output y" });
  stage.slider("w", "weight w", { min: -10, max: 10, step: 0.5, value: 2 });
  stage.slider("b", "bias b", { min: -10, max: 10, step: 0.5, value: -2 });
  stage.slider("c", "both times c", { min: 1, max: 10, step: 0.5, value: 1 });
  return () => {
    const { c } = stage.values, w = c * stage.values.w, b = c * stage.values.b, { shown } = interactives, at = w ? -b / w : 0;
    const inputs = xs.map((x) => [x]), sigmoid = stage.call("neurons.sigmoid_neuron", inputs, [w], b);
    const perceptron = stage.call("neurons.perceptron", inputs, [w], b), aside = [[at + 0.5]];
    const [half, [hard]] = [stage.call("neurons.sigmoid_neuron", [[at], ...aside], [w], b), stage.call("neurons.perceptron", aside, [w], b)];
    const slope = w * stage.call("neurons.sigmoid_neuron_slopes", [[at]], [w], b)[1][0];
    chart.clear();
    chart.line(xs, perceptron, 1, true);
    chart.line(xs, sigmoid, 0);
    if (w && Math.abs(at) <= 6) chart.points([at], [half[0]], 0);
    const there = Math.abs(at) > 6 ? `${shown(at)}, outside the picture` : shown(at);
    const output = (y) => (y < 0.001 ? "less than 0.001" : y > 0.999 ? "more than 0.999" : shown(y));
    const none = "With a weight of 0 the input does not count: the perceptron (orange, dashed) gives";
    stage.say(w === 0
      ? `${none} ${hard} everywhere, the sigmoid neuron (blue) ${output(half[0])}, which is σ(b).`
      : `The perceptron (orange, dashed) switches at x = −b/w = ${there}; there the sigmoid neuron (blue) gives ½ and has its steepest slope, `
        + `w σ′(0) = ${shown(slope)}. Half a unit to the right the perceptron gives ${hard}, and the sigmoid neuron ${output(half[1])}.`,
    { sigmoid, perceptron });
  };
});
