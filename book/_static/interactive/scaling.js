/* Interactives of the chapter on more than one machine. */
"use strict";

/* The time to add up one gradient, by ring and by tree, against the number of workers. */
interactives.register("workers", (stage) => {
  const LAST = 1024, drawn = [...new Set(Array.from({ length: 289 }, (_, i) => Math.round(2 ** (1 + i / 32))))];
  const chart = stage.chart({ height: 300, x: [1, 10.2], y: [-3, -1], xlabel: "workers K", ylabel: "seconds", names: true });
  const { shown } = interactives, big = (x) => (x < 1e6 ? `${shown(x / 1e3, 2)} thousand` : `${shown(x / 1e6, 2)} million`);
  const time = (x) => (x < 1e-3 ? `${shown(x * 1e6, 2)} µs` : x < 1 ? `${shown(x * 1e3, 2)} ms` : `${shown(x, 2)} s`);
  const share = (x) => (x < 0.01 ? "less than 1 %" : x > 0.99 ? "more than 99 %" : `${shown(100 * x, 2)} %`);
  stage.slider("K", "workers K", { min: 1, max: 10, step: 0.25, value: 6, told: (x) => String(Math.round(2 ** x)) });
  stage.slider("P", "numbers in the gradient P", { min: 4, max: 8, step: 0.1, value: 5.5, told: (x) => big(10 ** x) });
  stage.slider("alpha", "latency α", { min: -6, max: -3, step: 0.1, value: -4.7, told: (x) => time(10 ** x) });
  stage.slider("rate", "bandwidth", { min: -1, max: 1, step: 0.1, value: 0.1, told: (x) => `${shown(10 ** x, 2)} GB/s` });
  return () => {
    const { values } = stage, K = Math.round(2 ** values.K), P = 10 ** values.P, alpha = 10 ** values.alpha;
    const beta = 4e-9 / 10 ** values.rate; // four bytes a number
    const ring = (k, numbers = P) => stage.call("scaling.ring_time", numbers, k, alpha, beta);
    const tree = (k, numbers = P) => stage.call("scaling.tree_time", numbers, k, alpha, beta);
    const curves = [ring, tree].map((by) => drawn.map((k) => Math.log10(by(k)))), low = Math.floor(Math.min(...curves.flat()));
    chart.range([1, 10.2], [low, Math.ceil(Math.max(...curves.flat()))]);
    chart.clear();
    for (const one of chart.inside.querySelectorAll("text[text-anchor=end]")) { // the powers of ten by their names, and no others
      const power = Number(one.textContent.replace("−", "-"));
      if (Number.isInteger(power)) one.textContent = `10${[...String(power)].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("")}`;
      else [one.previousSibling, one].forEach((part) => part.remove());
    }
    for (let n = 1; n <= 10; n++) if (chart.width > 420 || n % 2 === 0) chart.text(n, low, String(2 ** n), { "text-anchor": "middle", dy: 14 });
    curves.forEach((curve, n) => chart.line(drawn.map((k) => Math.log2(k)), curve, n));
    [ring, tree].forEach((by, n) => chart.points([Math.log2(K)], [Math.log10(by(K))], n, 5));
    let last = LAST;
    while (last > 1 && tree(last) < ring(last)) last--;
    const each = [["ring (blue)", ring], ["tree (orange)", tree]].map(([name, by]) =>
      `the ${name} takes ${time(by(K))}, ${share(by(K, 0) / by(K))} of it latency`);
    stage.say(`With ${K} workers ${each.join("; ")}. `
      + (last === LAST ? `With ${LAST} the ring is still faster.` : `From ${last + 1} on the tree is faster, at least up to ${LAST}.`),
    { ring: ring(K), tree: tree(K), last });
  };
});
