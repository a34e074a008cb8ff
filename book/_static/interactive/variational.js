/* Interactives of the chapter on variational autoencoders. */
"use strict";

/* Noise is drawn once; mean and spread carry it to the code, and the rate says what their distance from the prior costs. */
interactives.register("draws", (stage) => {
  const lines = stage.chart({ height: 190, x: [-7.5, 7.5], y: [-0.15, 1.15], xlabel: "noise (orange) and what becomes of it (blue)" });
  const rates = stage.chart({ height: 210, x: [-2.6, 1], y: [0, 6.5], xlabel: "s = log σ", ylabel: "rate (nats)" });
  let seed = 20240;
  const uniform = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  const noise = () => Array.from({ length: 30 }, () => [normal()]);
  let eps = noise();
  stage.slider("m", "mean m", { min: -2.5, max: 2.5, step: 0.1, value: 2 });
  stage.slider("s", "standard deviation σ", { min: -2.5, max: 0.8, step: 0.05, value: -1, told: (s) => interactives.shown(Math.exp(s), 2) });
  stage.button("other noise", () => { eps = noise(); });
  const grid = Array.from({ length: 73 }, (_, i) => -2.6 + i / 20);
  return () => {
    const { m, s } = stage.values, { shown } = interactives, all = (x) => eps.map(() => [x]);
    const z = stage.call("variational.reparameterize", all(m), all(s), eps);
    const [rate] = stage.call("variational.gaussian_kl", [[m]], [[s]]);
    const [[[dm]], [[ds]]] = stage.call("variational.gaussian_kl_gradient", [[m]], [[s]]);
    const along = (mean) => stage.call("variational.gaussian_kl", grid.map(() => [mean]), grid.map((x) => [x]));
    lines.clear();
    lines.inside.querySelectorAll('[text-anchor="end"]').forEach((text, i) => (text.textContent = ["code z", "", "noise ε"][i]));
    z.forEach(([to], n) => lines.line([eps[n][0], to], [1, 0], 3));
    lines.points(eps.flat(), eps.map(() => 1), 1);
    lines.points(z.flat(), z.map(() => 0), 0);
    rates.clear();
    rates.line(grid, along(0), 3);
    rates.line(grid, along(m), 0);
    rates.line([s - 0.8, s + 0.8], [rate - 0.8 * ds, rate + 0.8 * ds], 1, true);
    rates.points([s], [rate], 1, 5);
    const pull = rate > 0 ? `Its slopes are ${shown(dm, 2)} for m and ${shown(ds, 2)} for s (dashed); going down leads to the prior.`
      : "Its slopes are 0: every code is its noise, and says nothing of an example.";
    const words = `${z.length} draws of noise become z = ${shown(m)} + ${shown(Math.exp(s), 2)} ε, at a rate of ${shown(rate)} nats. ${pull}`;
    stage.say(words, { eps, z, rate, dm, ds });
  };
});
