/* Interactives of the chapter on variational autoencoders. */
"use strict";

/* Eighteen codes, drawn at random, through the decoders of a variational autoencoder and of a plain one. */
interactives.register("digits", (stage) => {
  const { shown, random } = interactives, { learned } = stage;
  const layers = (kind) => [1, 2, 3].flatMap((l) => [learned[`w${l}${kind}`], learned[`b${l}${kind}`]]);
  const rows = (flat, k) => ({ shape: [flat.length / k, k], data: Float64Array.from(flat) });
  const relu = (z) => rows(stage.call("neurons.relu", z.flat()), z[0].length);
  const decode = (z, [w1, b1, w2, b2, w3, b3]) => {
    const second = stage.call("neurons.affine", relu(stage.call("neurons.affine", z, w1, b1)), w2, b2);
    return rows(stage.call("linear_classification.sigmoid", stage.call("neurons.affine", relu(second), w3, b3).flat()), 64);
  };
  const { normal } = random(13), noise = () => Array.from({ length: 18 }, () => Array.from({ length: 8 }, normal));
  const chart = stage.chart({});
  let eps = noise();
  stage.slider("spread", "spread of the codes", { min: 0, max: 3, step: 0.1, value: 1 });
  stage.button("other noise", () => { eps = noise(); });
  return () => {
    const { spread } = stage.values, zero = eps.map((row) => row.map(() => 0)), s = zero.map((row) => row.map(() => Math.log(spread)));
    const z = spread ? stage.call("variational.reparameterize", zero, s, eps) : zero;
    chart.clear(10);
    const across = chart.width < 480 ? 6 : 9, pitch = chart.width / across, size = Math.min(8, Math.floor((pitch - 6) / 8));
    const left = (pitch - 8 * size) / 2, down = 8 * size + 8, half = 24 + (18 / across) * down;
    chart.clear(2 * half);
    const drawn = {}, [own, plain] = [["variational", 1], ["plain autoencoder", 0]].map(([name, kind], k) => {
      const x = decode(z, layers(kind)), mean = Array.from({ length: 64 }, (_, i) => eps.reduce((sum, _, n) => sum + x.data[64 * n + i] / 18, 0));
      chart.put("text", { x: left, y: k * half + 14 }, name);
      eps.forEach((_, n) => {
        const pixels = Array.from({ length: 8 }, (_, i) => Array.from(x.data.subarray(64 * n + 8 * i, 64 * n + 8 * i + 8)));
        chart.image(pixels, { left: left + (n % across) * pitch, top: k * half + 22 + Math.floor(n / across) * down, size });
      });
      drawn[kind] = Array.from(x.data);
      return stage.call("autoencoders.reconstruction", x, eps.map(() => mean));
    });
    const words = spread === 0 ? "At the spread 0 every code is 0. A decoder draws one picture eighteen times, "
        + "at a squared error of 0 from their mean."
      : `Eighteen codes of eight numbers with the spread ${shown(spread)}${spread === 1 ? ", that of the prior" : ""}. The variational decoder's `
        + `pictures lie at a squared error of ${shown(own)} from their mean, the plain one's at ${shown(plain)}.`;
    stage.say(`${words} Training digits lie at ${shown(learned.variety)} from theirs.`, { z, drawn, own, plain });
  };
});

/* Noise is drawn once; mean and spread carry it to the code, and the rate says what their distance from the prior costs. */
interactives.register("draws", (stage) => {
  const { shown, random } = interactives, { normal } = random(20240), noise = () => Array.from({ length: 30 }, () => [normal()]);
  const lines = stage.chart({ height: 170, x: [-9, 9], y: [-0.1, 1.1], xlabel: "noise, and the code made of it" });
  const rates = stage.chart({ height: 210, x: [-2.6, 1], y: [0, 6.5], xlabel: "s = log σ", ylabel: "rate (nats)" });
  let eps = noise();
  stage.slider("m", "mean m", { min: -2.5, max: 2.5, step: 0.1, value: 2 });
  stage.slider("s", "standard deviation σ", { min: -2.5, max: 0.8, step: 0.05, value: -1, told: (s) => shown(Math.exp(s), 2) });
  stage.button("other noise", () => { eps = noise(); });
  const grid = Array.from({ length: 73 }, (_, i) => -2.6 + i / 20);
  return () => {
    const { m, s } = stage.values, all = (x) => eps.map(() => [x]);
    const z = stage.call("variational.reparameterize", all(m), all(s), eps);
    const [rate] = stage.call("variational.gaussian_kl", [[m]], [[s]]);
    const [[[dm]], [[ds]]] = stage.call("variational.gaussian_kl_gradient", [[m]], [[s]]);
    const along = (mean) => stage.call("variational.gaussian_kl", grid.map(() => [mean]), grid.map((x) => [x]));
    lines.clear();
    lines.inside.querySelectorAll('[text-anchor="end"]').forEach((text, i) => (text.textContent = ["code z", "", "noise ε"][i]));
    z.forEach(([to], n) => {
      const [[x1, y1], [x2, y2]] = [lines.at(eps[n][0], 1), lines.at(to, 0)];
      lines.put("line", { class: "around", x1, y1, x2, y2, ...lines.clip });
    });
    lines.points(eps.flat(), eps.map(() => 1), 1, 3);
    lines.points(z.flat(), z.map(() => 0), 0, 3);
    rates.clear();
    rates.line(grid, along(0), 3);
    rates.line(grid, along(m), 0);
    rates.line([s - 0.8, s + 0.8], [rate - 0.8 * ds, rate + 0.8 * ds], 1, true);
    rates.points([s], [rate], 1, 5);
    if (Math.abs(m) > 1.4) rates.text(0, 0.3, "m = 0", { "text-anchor": "middle" });
    const pull = rate > 0 ? `Its slopes are ${shown(dm, 2)} for m and ${shown(ds, 2)} for s (dashed); going down leads to the prior.`
      : "Its slopes are 0: every code is its noise, and says nothing of an example.";
    const made = `${z.length} draws of noise become z = ${shown(m)} + ${shown(Math.exp(s), 2)} ε`;
    stage.say(`${made}, at a rate of ${shown(rate)} nats (orange). ${pull}`, { eps, z, rate, dm, ds });
  };
});
