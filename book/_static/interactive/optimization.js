/* Interactives of the chapter on optimization. */
"use strict";

/* Momentum in a long valley, with curvature 1 along it and κ across, as long as both directions swing. */
interactives.register("valley", (stage) => {
  const STEPS = 60, START = [10, 1], { shown } = interactives, times = Array.from({ length: STEPS + 1 }, (_, t) => t);
  const turn = Array.from({ length: 121 }, (_, i) => (i * Math.PI) / 60);
  const map = stage.chart({ height: 250, x: [-11, 11], y: [-4, 4], xlabel: "θ along the valley", ylabel: "θ across" });
  const chart = stage.chart({ height: 200, x: [0, STEPS], y: [-6, 0.5], xlabel: "steps", ylabel: "log₁₀ of the distance" });
  stage.slider("kappa", "condition number κ", { min: 4, max: 100, step: 1, value: 50 });
  stage.slider("rate", "rate ηL", { min: 0.2, max: 3.4, step: 0.01, value: 1.9 });
  const momentum = () => { // from the least with which (1 + μ − ηλ)² < 4μ in both directions
    const { kappa, rate, more } = stage.values, least = Math.max(1 - Math.sqrt(rate / kappa), Math.sqrt(rate) - 1) ** 2;
    return least + more * (1 - least);
  };
  stage.slider("more", "momentum μ", { min: 0.005, max: 0.9, step: 0.005, value: 0.15, told: () => shown(momentum()) });
  return () => {
    const { kappa, rate } = stage.values, mu = momentum(), eta = rate / kappa;
    stage.inputs.more.changed(); // its lower end depends on the others
    const [flat, steep] = [1, kappa].map((lam, k) => times.map((t) => stage.call("optimization.momentum_path", START[k], lam, eta, mu, t)));
    const far = times.map((t) => Math.hypot(flat[t], steep[t]) / Math.hypot(...START));
    const [, factor] = stage.call("optimization.best_rate", 1, kappa), best = stage.call("optimization.momentum_optimum", 1, kappa);
    map.clear();
    for (const size of [2, 4, 6, 8, 10]) {
      const points = turn.map((a) => map.at(size * Math.cos(a), (size * Math.sin(a)) / Math.sqrt(kappa)).join()).join(" ");
      map.put("polyline", { class: "grid", fill: "none", points, "clip-path": map.clip() });
    }
    map.line(flat, steep, 0);
    map.points(flat, steep, 0, 2.5);
    map.points([0], [0], 2, 4);
    chart.clear();
    chart.line(times, times.map((t) => t * Math.log10(factor)), 1, true);
    chart.line(times, far.map((x) => Math.log10(x)), 0);
    stage.say(`With μ = ${shown(mu)} each step leaves √μ = ${shown(Math.sqrt(mu))} of a swing, along the valley as across. After ${STEPS} steps `
      + `${shown(far[STEPS], 2)} of the distance is left (blue), by plain descent at its best rate (dashed) ${shown(factor ** STEPS, 2)}. `
      + `Best for κ = ${kappa}: ηL = ${shown(best[0] * kappa)} and μ = ${shown(best[1])}, with √μ = ${shown(best[2])}.`,
      { flat, steep, factor, best });
  };
});
