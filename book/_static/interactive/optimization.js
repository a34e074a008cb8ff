/* Interactives of the chapter on optimization. */
"use strict";

/* Momentum in a long valley, with curvature 1 along it and κ across, as long as both directions swing. */
interactives.register("valley", (stage) => {
  const STEPS = 60, START = [10, 1], { shown } = interactives, times = Array.from({ length: STEPS + 1 }, (_, t) => t);
  const turn = Array.from({ length: 121 }, (_, i) => (i * Math.PI) / 60);
  stage.slider("kappa", "condition number κ", { min: 4, max: 100, step: 1, value: 50 });
  stage.slider("rate", "rate ηL", { min: 0.2, max: 3.4, step: 0.01, value: 1.9 });
  const momentum = () => { // from the least with which (1 + μ − ηλ)² < 4μ in both directions
    const { kappa, rate, more } = stage.values, least = Math.max(1 - Math.sqrt(rate / kappa), Math.sqrt(rate) - 1) ** 2;
    return least + more * (1 - least);
  };
  stage.slider("more", "momentum μ", { min: 0.005, max: 0.9, step: 0.005, value: 0.15, told: () => shown(momentum()) });
  const map = stage.chart({ height: 210, xlabel: "θ₁, along the valley", ylabel: "θ₂, across" });
  const chart = stage.chart({ height: 200, xlabel: "steps", ylabel: "log₁₀ of the distance" });
  return () => {
    const { kappa, rate } = stage.values, mu = momentum(), eta = rate / kappa;
    stage.put({ more: stage.values.more }); // its lower end depends on the others
    const [flat, steep] = [1, kappa].map((lam, k) => times.map((t) => stage.call("optimization.momentum_path", START[k], lam, eta, mu, t)));
    const far = times.map((t) => Math.hypot(flat[t], steep[t]) / Math.hypot(...START));
    const [, factor] = stage.call("optimization.best_rate", 1, kappa), best = stage.call("optimization.momentum_optimum", 1, kappa);
    const wide = Math.max(2.2, 1.05 * Math.max(...steep.map(Math.abs)));
    map.range([-10.8, 10.8], [-wide, wide]);
    map.clear();
    for (const size of [2, 4, 6, 8, 10]) {
      const points = turn.map((a) => map.at(size * Math.cos(a), (size * Math.sin(a)) / Math.sqrt(kappa)).join()).join(" ");
      map.put("polyline", { class: "grid", fill: "none", points, ...map.clip });
    }
    map.put("path", { class: "series s3", d: `M${map.at(0, 0).join(" ")}m-7 0h14m-7 -7v14` });
    map.line(flat, steep, 0);
    map.points(flat, steep, 0, 2.5);
    chart.range([0, STEPS], [Math.floor(STEPS * Math.log10(best[2])), 0.7]);
    chart.clear();
    chart.line(times, times.map((t) => (t * Math.log10(mu)) / 2), 3);
    chart.line(times, times.map((t) => t * Math.log10(factor)), 1, true);
    chart.line(times, far.map((x) => Math.log10(x)), 0);
    stage.say(`With μ = ${shown(mu)} each step leaves √μ = ${shown(Math.sqrt(mu))} of a swing (grey), along the valley as across. `
      + `After ${STEPS} steps ${shown(far[STEPS], 2)} of the distance is left (blue), by plain descent at its best rate (dashed) `
      + `${shown(factor ** STEPS, 2)}. Best for κ = ${kappa}: ηL = ${shown(best[0] * kappa)} and μ = ${shown(best[1])}, with √μ = ${shown(best[2])}.`,
      { flat, steep, factor, best });
  };
});

/* Plain descent, momentum and Nesterov's method in a bent valley, and beside them Adam as it ran on the page. */
interactives.register("race", (stage) => {
  const STEPS = 100, START = [-1.2, 1], { shown } = interactives, turn = Array.from({ length: 121 }, (_, i) => (i * Math.PI) / 60);
  const slope = ([x, y]) => [x - 1 - 20 * x * (y - x * x), 10 * (y - x * x)], { shape, data } = stage.learned.adam;
  const adam = Array.from({ length: shape[0] }, (_, t) => [data[2 * t], data[2 * t + 1]]), gap = ([x, y]) => Math.hypot(x - 1, y - 1);
  const RUNNERS = [["plain", 0, 0], ["momentum", 1, 0], ["Nesterov", 1, 1]]; // what keeps its velocity, and what looks ahead
  const TOLD = { plain: "plain descent (blue)", momentum: "momentum (orange)", Nesterov: "Nesterov's method (green)", Adam: "Adam (grey)" };
  stage.slider("log", "rate η", { min: -3, max: -1, step: 0.05, value: -1.7, told: (log) => shown(10 ** log) });
  stage.slider("mu", "momentum μ", { min: 0, max: 0.98, step: 0.01, value: 0.9 });
  stage.slider("steps", "steps", { min: 1, max: STEPS, step: 1, value: 40 });
  const map = stage.chart({ height: 300, x: [-1.7, 2.2], y: [-0.9, 2.1], xlabel: "x", ylabel: "y" });
  const chart = stage.chart({ height: 190, x: [0, 140], y: [-3, 1], xlabel: "steps", ylabel: "log₁₀ of the distance" });
  const run = (mu, ahead) => { // until it leaves for good
    const path = [START];
    for (let theta = START, v = [0, 0]; path.length <= STEPS; path.push(theta)) {
      const at = theta.map((x, p) => x + ahead * mu * v[p]);
      [theta, v] = stage.call("optimization.lookahead", theta, v, slope(at), 10 ** stage.values.log, mu);
      if (!(Math.hypot(...theta) < 50)) break;
    }
    return path;
  };
  /* Names beside the ends of lines, far enough from each other */
  const beside = (drawn, ends) => ends.map(([name, x, y]) => [name, ...drawn.at(x, y)]).sort((a, b) => a[2] - b[2])
    .reduce((last, [name, px, py], k) => {
      const place = Math.min(Math.max(py + 4, last + 14, 18), drawn.height - drawn.bottom - 14 * (ends.length - 1 - k));
      drawn.put("text", { x: Math.min(Math.max(px, drawn.left) + 9, drawn.width - 72), y: place }, name);
      return place;
    }, 0);
  return () => {
    const { mu, steps } = stage.values, paths = [...RUNNERS.map(([name, keeps, ahead]) => [name, run(keeps * mu, ahead)]), ["Adam", adam]];
    map.clear();
    for (const level of [0.1, 0.5, 1.5, 4, 10, 25]) {
      const round = turn.map((a) => [1 + Math.sqrt(2 * level) * Math.cos(a), Math.sqrt(level / 5) * Math.sin(a)]);
      map.put("polyline", { class: "grid", fill: "none", points: round.map(([x, off]) => map.at(x, x * x + off)).join(" "), ...map.clip });
    }
    chart.clear();
    chart.line([steps, steps], chart.y, 3);
    map.put("path", { class: "series s3", d: `M${map.at(1, 1).join(" ")}m-7 0h14m-7 -7v14` });
    paths.forEach(([, path], k) => {
      const way = path.slice(0, steps + 1), far = path.map((place) => Math.log10(gap(place)));
      map.line(way.map(([x]) => x), way.map(([, y]) => y), k, k === 3);
      map.points([way.at(-1)[0]], [way.at(-1)[1]], k, 5);
      chart.line(far.map((_, t) => t), far, k, k === 3);
    });
    const there = paths.filter(([, path]) => path.length > steps), lost = paths.filter(([, path]) => path.length <= steps).map(([name]) => name);
    beside(map, there.map(([name, path]) => [name, ...path[steps]]));
    beside(chart, paths.filter(([, path]) => path.length > STEPS).map(([name, path]) => [name, STEPS, Math.log10(gap(path[STEPS]))]));
    const order = there.map(([name, path]) => [gap(path[steps]), name]).sort((a, b) => a[0] - b[0]);
    stage.say(`Distances from the minimum after ${steps} step${steps > 1 ? "s" : ""}, the nearest first: `
      + `${order.map(([far, name]) => `${TOLD[name]} ${shown(far, 2)}`).join(", ")}.`
      + `${lost.length ? ` Diverged: ${lost.map((name) => TOLD[name]).join(", ")}.` : ""}`
      + `${mu === 0 ? " With μ = 0 momentum and Nesterov's method are plain descent." : ""}`, { paths });
  };
});
