/* Interactives of the chapter on generative adversarial networks. */
"use strict";

/* Two bells at a distance, the best discriminator between them, and what the game measures. */
interactives.register("best", (stage) => {
  const at = Array.from({ length: 401 }, (_, i) => (i - 200) / 20);
  const bell = (mean, spread) => {
    const heights = at.map((x) => Math.exp(-(((x - mean) / spread) ** 2) / 2)), sum = heights.reduce((a, b) => a + b);
    return heights.map((x) => x / sum);
  };
  const bells = stage.chart({ height: 210, x: [-10, 10], y: [0, 1.4], xlabel: "x", ylabel: "densities, D*" });
  const against = stage.chart({ height: 190, x: [0, 8], y: [0, 0.75], xlabel: "distance", ylabel: "JS (nats)" });
  stage.slider("apart", "distance", { min: 0, max: 8, step: 0.1, value: 2.5 });
  stage.slider("spread", "spread of the generated", { min: 0.3, max: 1.5, step: 0.05, value: 0.6 });
  const distances = Array.from({ length: 41 }, (_, i) => i / 5);
  let curve, of;
  return () => {
    const { apart, spread } = stage.values, { shown } = interactives, pair = (d) => [bell(-d / 2, 1), bell(d / 2, spread)];
    const divergence = (d) => stage.call("gan.jensen_shannon", ...pair(d));
    const [p, q] = pair(apart), best = stage.call("gan.optimal_discriminator", p, q), js = divergence(apart);
    const most = stage.call("gan.jensen_shannon", [1, 0], [0, 1]);
    const slope = (divergence(apart + 0.05) - divergence(apart - 0.05)) / 0.1;
    if (of !== spread) [curve, of] = [distances.map(divergence), spread];
    bells.clear();
    bells.line(at, p.map((x) => 20 * x), 0);
    bells.line(at, q.map((x) => 20 * x), 1);
    bells.line(at, best, 2);
    against.clear();
    against.line([0, 8], [most, most], 3, true);
    against.line(distances, curve, 0);
    against.points([apart], [js], 1, 5);
    const alike = best.every((d) => d === 0.5);
    const above = alike ? "The best discriminator (green) says ½ everywhere: nothing tells real examples (blue) from generated ones (orange)."
      : "The best discriminator (green) says more than ½ where real examples (blue) are likelier than generated ones (orange).";
    stage.say(`${above} The Jensen–Shannon divergence is ${shown(js)}, at most log 2 = ${shown(most)}; its slope by the distance is `
      + `${Math.abs(slope) < 0.001 ? "less than 0.001" : shown(slope, 2)}.`, { p, q, best, js, slope });
  };
});
