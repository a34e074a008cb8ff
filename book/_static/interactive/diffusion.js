/* Interactives of the chapter on diffusion. */
"use strict";

/* Noise flows to eight points, in few steps or many, by the ideal velocity. */
interactives.register("flow", (stage) => {
  const points = Array.from({ length: 8 }, (_, m) => [2 * Math.cos((m * Math.PI) / 4), 2 * Math.sin((m * Math.PI) / 4)]);
  const chart = stage.chart({ wide: 420, x: [-3.2, 3.2], y: [-3.2, 3.2], xlabel: "first number of x", ylabel: "second number" });
  const { normal } = interactives.random(7), noise = () => Array.from({ length: 40 }, () => [normal(), normal()]);
  let start = noise();
  stage.slider("steps", "steps", { min: 1, max: 40, step: 1, value: 20 });
  stage.slider("done", "how far", { min: 0, max: 1, step: 0.01, value: 1, told: (x) => `${Math.round(100 * x)} %` });
  stage.button("other noise", () => { start = noise(); });
  return () => {
    const { steps, done } = stage.values, taken = Math.round(done * steps), whole = [start];
    for (let k = 0; k < steps; k++) {
      const u = 1 - k / steps, slope = stage.call("diffusion.velocity", whole[k], points, u);
      whole.push(stage.call("diffusion.euler_step", whole[k], slope, -1 / steps));
    }
    const paths = whole.slice(0, taken + 1), last = paths.at(-1), gap = ([x, y]) => Math.min(...points.map(([a, b]) => Math.hypot(x - a, y - b)));
    const near = last.filter((p) => gap(p) < 0.1).length;
    chart.clear();
    chart.clear(chart.width - 16); // so that both axes have one scale
    last.forEach((_, n) => chart.line(paths.map((path) => path[n][0]), paths.map((path) => path[n][1]), 3));
    chart.points(points.map(([x]) => x), points.map(([, y]) => y), 1, 6);
    chart.points(last.map(([x]) => x), last.map(([, y]) => y), 0, 3);
    const place = taken === 0 ? " All are noise still." : steps === 1 ? " One step takes all to the mean of the eight points." : "";
    stage.say(`Of ${start.length} samples (small, blue) ${near} ${near === 1 ? "lies" : "lie"} within 0.1 of one of the eight points `
      + `(large, orange), after ${taken} of ${steps} ${steps === 1 ? "step" : "steps"}.${place}`, { last, near });
  };
});

/* The page's denoiser draws digits: noise, and what DDIM makes of it, for a class, under guidance. */
interactives.register("digits", (stage) => {
  const N = 6, D = 64, COUNTS = [1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50], { w1, w2, w3, b1, b2, b3 } = stage.learned;
  const chart = stage.chart({}), { normal } = interactives.random(5);
  const noise = () => Array.from({ length: N }, () => Array.from({ length: D }, normal));
  let start = noise();
  stage.slider("steps", "steps", { min: 0, max: COUNTS.length - 1, step: 1, value: 5, told: (k) => String(COUNTS[k]) });
  stage.choice("class", "class", [..."0123456789", "not told"], "3");
  stage.slider("w", "guidance w", { min: 0, max: 4, step: 0.5, value: 1 });
  stage.button("other noise", () => { start = noise(); });
  const layer = (x, w, b) => stage.call("neurons.affine", x, w, b);
  const bent = (z) => { // the kernel's case on the page has one axis
    const flat = stage.call("neurons.silu", z.flat());
    return z.map(({ length }, n) => flat.slice(n * length, (n + 1) * length));
  };
  return () => {
    const steps = COUNTS[stage.values.steps], { w } = stage.values, told = stage.values.class !== "not told", twice = told && w > 0;
    const given = Array.from({ length: 10 }, (_, k) => Number(String(k) === stage.values.class)), free = Array(10).fill(0);
    let x = start;
    for (let k = 0; k < steps; k++) {
      const [u, to] = [1 - k / steps, 1 - (k + 1) / steps], [[alpha, alphaTo], [sigma, sigmaTo]] = stage.call("diffusion.cosine", [u, to]);
      const [waves] = stage.call("diffusion.time_features", [u], 4), asked = (y) => x.map((row) => [...row, ...waves, ...y]);
      const rows = twice ? [...asked(given), ...asked(free)] : asked(told ? given : free);
      const said = layer(bent(layer(bent(layer(rows, w1, b1)), w2, b2)), w3, b3);
      const v = twice ? stage.call("diffusion.guided", said.slice(0, N), said.slice(N), w) : said;
      const [image] = stage.call("diffusion.from_v", x, v, Array(N).fill(alpha), Array(N).fill(sigma));
      x = stage.call("diffusion.ddim_step", x, image, alpha, sigma, alphaTo, sigmaTo);
    }
    const ink = (value) => (value + 1) / 2, pixels = (row) => Array.from({ length: 8 }, (_, i) => row.slice(8 * i, 8 * i + 8).map(ink));
    chart.clear();
    const size = Math.floor(chart.width / N / 8.6), times = (n) => (n === 1 ? "once" : n === 2 ? "twice" : `${n} times`);
    chart.clear(2 * (8 * size + 30));
    [["noise", start], [`after ${steps} ${steps === 1 ? "step" : "steps"}`, x]].forEach(([name, images], k) => {
      const y = k * (8 * size + 30);
      chart.put("text", { x: 0, y: y + 14 }, name);
      images.forEach((row, n) => chart.image(pixels(row), { left: 1 + (n * chart.width) / N, top: y + 22, size }));
    });
    const apart = x.flatMap((one, n) => x.slice(0, n).map((other) => Math.hypot(...one.map((value, d) => ink(value) - ink(other[d])))));
    const mean = apart.reduce((sum, one) => sum + one, 0) / apart.length, darkest = ink(Math.max(...x.flat()));
    const who = told ? `of the class ${stage.values.class}, ${w ? `with guidance w = ${w}` : "without guidance"}`
      : `with no class told${w ? ", so that guidance has nothing to strengthen" : ""}`;
    stage.say(`Six draws ${who}. For each the network was asked ${times(twice ? 2 * steps : steps)}`
      + `${twice ? ", with the class and without" : ""}. `
      + `In the mean two of the draws are ${mean.toFixed(1)} apart; the darkest pixel is ${darkest.toFixed(1)}, `
      + "and all from 1 on is drawn as ink.", { start, steps, x });
  };
});
