/* Interactives of the chapter on linear classification. */
"use strict";

/* Three scores become probabilities; what the loss asks of each score is the probability, less one at the right class. */
interactives.register("scores", (stage) => {
  const { shown } = interactives, SUB = "₀₁₂", MOST = 6, START = [2, 1, 0], range = Array.from({ length: 121 }, (_, i) => -MOST + i / 10);
  START.forEach((value, j) => stage.slider(`z${j}`, `score z${SUB[j]}`, { min: -MOST, max: MOST, step: 0.1, value }));
  stage.choice("right", "right class", ["0", "1", "2"], "1");
  stage.box("together", "move all three alike");
  const bars = stage.chart({ height: 215, x: [-0.55, 2.55], y: [-1.3, 1.2], xlabel: " ", ylabel: "p, and slope dz", names: true });
  const chart = stage.chart({ height: 180, x: [-MOST, MOST], y: [0, 13], xlabel: "score of the right class", ylabel: "loss" });
  let before = START;
  return (moved) => {
    const { together } = stage.values, right = Number(stage.values.right), of = () => [0, 1, 2].map((j) => stage.values[`z${j}`]);
    if (together && /^z/.test(moved)) { // as far as none of them leaves its range
      const far = of()[moved[1]] - before[moved[1]], shift = Math.max(-MOST - Math.min(...before), Math.min(MOST - Math.max(...before), far));
      stage.put(Object.fromEntries(before.map((x, j) => [`z${j}`, x + shift])));
    }
    const z = before = of(), [p] = stage.call("linear_classification.softmax", [z]);
    const [dz] = stage.call("linear_classification.softmax_cross_entropy_gradient", [z], [right]);
    const loss = (own) => stage.call("linear_classification.softmax_cross_entropy", [z.map((x, j) => (j === right ? own : x))], [right]);
    const own = z[right], paid = loss(own), two = (x) => x.toFixed(2).replace(/^-(0\.00)$/, "$1").replace("-", "−");
    bars.clear();
    bars.bars([-0.22, 0.78, 1.78], p, 0, 0.38);
    bars.bars([0.22, 1.22, 2.22], dz, 1, 0.38);
    for (const j of [0, 1, 2]) {
      const middle = { "text-anchor": "middle" };
      bars.text(j - 0.22, p[j], two(p[j]), { ...middle, dy: -5 });
      bars.text(j + 0.22, dz[j], two(dz[j]), { ...middle, dy: dz[j] < 0 ? 14 : -5 });
      bars.text(j - 0.22, bars.y[0], `p${SUB[j]}`, { ...middle, dy: 14 });
      bars.text(j + 0.22, bars.y[0], `dz${SUB[j]}`, { ...middle, dy: 14 });
      bars.text(j, bars.y[0], j === right ? `class ${j} ✓` : `class ${j}`, { ...middle, dy: 31 });
    }
    chart.clear();
    chart.line(range, range.map(loss), 0);
    chart.line([own - 3, own + 3], [paid - 3 * dz[right], paid + 3 * dz[right]], 1, true);
    chart.points([own], [paid], 1, 5);
    const given = shown(p[right], p[right] > 0.99 ? 7 : 3);
    stage.say(`Class ${right}, the right one, was given the probability ${given} (blue); the loss is −log ${given} = ${shown(paid)}. `
      + `Its slopes (orange) are p − 1 = ${shown(dz[right])} in the score of the right class and p in the others; they add up to 0.`
      + `${together ? " Moved alike, the scores leave all of this as it is." : ""}`, { p, dz, paid });
  };
});
