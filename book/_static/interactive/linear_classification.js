/* Interactives of the chapter on linear classification. */
"use strict";

/* Three scores become probabilities; what the loss asks of each score is the probability, less one at the right class. */
interactives.register("scores", (stage) => {
  const { shown } = interactives, classes = ["0", "1", "2"], most = 6;
  const bars = stage.chart({ height: 220, x: [-0.6, 2.6], y: [-1.1, 1.1], ylabel: "p, and slope dz", names: true });
  const chart = stage.chart({ height: 210, x: [-most, most], y: [0, 13], xlabel: "score of the right class", ylabel: "loss" });
  [2, 1, 0].forEach((value, j) => stage.slider(`z${j}`, `score z${"₀₁₂"[j]}`, { min: -most, max: most, step: 0.1, value }));
  stage.choice("right", "right class", classes, "1");
  return () => {
    const { z0, z1, z2 } = stage.values, z = [z0, z1, z2], right = Number(stage.values.right);
    const [p] = stage.call("linear_classification.softmax", [z]);
    const [dz] = stage.call("linear_classification.softmax_cross_entropy_gradient", [z], [right]);
    const loss = (own) => stage.call("linear_classification.softmax_cross_entropy", [z.map((x, j) => (j === right ? own : x))], [right]);
    const own = z[right], paid = loss(own), scores = Array.from({ length: 121 }, (_, i) => -most + i / 10);
    bars.clear();
    bars.bars([-0.2, 0.8, 1.8], p, 0, 0.36);
    bars.bars([0.2, 1.2, 2.2], dz, 1, 0.36);
    p.forEach((share, j) => {
      bars.text(j - 0.2, share + 0.05, shown(share, 2), { "text-anchor": "middle" });
      bars.text(j + 0.2, Math.max(dz[j], 0) + 0.05, shown(dz[j], 2), { "text-anchor": "middle" });
      bars.text(j, -1.24, `class ${j}`, { "text-anchor": "middle" });
    });
    chart.clear();
    chart.line(scores, scores.map(loss), 0);
    chart.line([own - 3, own + 3], [paid - 3 * dz[right], paid + 3 * dz[right]], 1, true);
    chart.points([own], [paid], 1, 5);
    const given = shown(p[right], p[right] > 0.99 ? 7 : 3);
    stage.say(`Class ${right}, the right one, was given the probability ${given} (blue), and the loss is −log(${given}) = ${shown(paid)}. `
      + `Its slopes (orange) are p − 1 = ${shown(dz[right])} in the score of the right class and p in the others; they add up to 0.`,
      { p, dz, paid });
  };
});
