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
    bells.line(at, best, 2, true);
    bells.text(-apart / 2 - 0.9, 0.32, "p", { "text-anchor": "end" });
    bells.text(apart / 2 + spread + 0.15, 0.3 / spread, "q");
    bells.text(-9.9, best[2] + 0.06, "D*");
    against.clear();
    against.line([0, 8], [most, most], 3, true);
    against.text(0.1, 0.71, "log 2");
    against.line(distances, curve, 0);
    against.points([apart], [js], 1, 5);
    const alike = best.every((d) => d === 0.5), fades = Math.abs(slope) < 0.001;
    const above = alike ? "The best discriminator (green) says ½ everywhere: nothing tells real examples (p, blue) from generated ones (q, orange)."
      : "The best discriminator (green) says more than ½ where real examples (p, blue) are likelier than generated ones (q, orange).";
    const far = fades && apart > 1 ? ": hardly anything tells the generator which way to go" : "";
    stage.say(`${above} The Jensen–Shannon divergence is ${shown(js)}, at most log 2 = ${shown(most)}; its slope by the distance is `
      + `${fades ? "less than 0.001" : shown(slope, 2)}${far}.`, { p, q, best, js, slope });
  };
});

/* The generator's digits on the way from one noise to another, and what the discriminator says of each. */
interactives.register("digits", (stage) => {
  const { w1, b1, w2, b2, w3, b3, A, a, B, b, u, leak, written } = stage.learned, { shown, random } = interactives;
  const rows = (flat, k) => ({ shape: [flat.length / k, k], data: Float64Array.from(flat) });
  const relu = (z) => rows(stage.call("neurons.relu", z.flat()), z[0].length);
  const chart = stage.chart({});
  const { normal } = random(17), noise = () => Array.from({ length: 18 }, () => Array.from({ length: 16 }, normal));
  let from = noise(), to = noise();
  stage.slider("way", "way to other noise", { min: 0, max: 1, step: 0.02, value: 0, told: (t) => `${Math.round(100 * t)} %` });
  stage.button("other noise", () => { [from, to] = [noise(), noise()]; });
  return () => {
    const { way } = stage.values, turn = (way * Math.PI) / 2; // a turn leaves standard normal noise what it is
    const z = from.map((row, n) => row.map((x, k) => Math.cos(turn) * x + Math.sin(turn) * to[n][k]));
    const second = stage.call("neurons.affine", relu(stage.call("neurons.affine", z, w1, b1)), w2, b2);
    const made = rows(stage.call("linear_classification.sigmoid", stage.call("neurons.affine", relu(second), w3, b3).flat()), 64);
    const says = (x) => stage.call("linear_classification.sigmoid", stage.call("gan.score", x, A, a, B, b, u, leak));
    const ofWritten = says(written), ofMade = says(made);
    chart.clear(10);
    const across = chart.width < 480 ? 6 : 9, pitch = chart.width / across, size = Math.min(8, Math.floor((pitch - 6) / 8));
    const down = 8 * size + 24;
    chart.clear(48 + (1 + 18 / across) * down);
    const draw = (digits, verdicts, top, title) => {
      chart.put("text", { x: (pitch - 8 * size) / 2, y: top - 8 }, title);
      verdicts.forEach((d, n) => {
        const left = (n % across) * pitch + (pitch - 8 * size) / 2, y = top + Math.floor(n / across) * down;
        const pixels = Array.from({ length: 8 }, (_, i) => Array.from(digits.data.subarray(64 * n + 8 * i, 64 * n + 8 * i + 8)));
        chart.image(pixels, { left, top: y, size });
        chart.put("text", { x: left + 4 * size, y: y + 8 * size + 14, "text-anchor": "middle" }, d.toFixed(2));
      });
    };
    draw(written, ofWritten, 20, "written, and what D says of them");
    draw(made, ofMade, 48 + down, "made of noise");
    const mean = (all) => shown(all.reduce((sum, x) => sum + x, 0) / all.length, 2), passed = ofMade.filter((d) => d > 0.5).length;
    const where = way === 0 ? "The digits below are made of noise as it was drawn"
      : way === 1 ? "The digits below are made of other noise"
        : `The noise of the digits below has gone ${Math.round(100 * way)} % of its way to other noise`;
    stage.say(`${where}. The discriminator holds ${passed} of the ${ofMade.length} for real rather than made, and says ${mean(ofMade)} on average; `
      + `of the ${ofWritten.length} written ones it says ${mean(ofWritten)}.`, { z, x: Array.from(made.data), made: ofMade, written: ofWritten });
  };
});
