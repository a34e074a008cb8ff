/* Interactives of the chapter on diffusion. */
"use strict";

/* Noise flows to eight points, in few steps or many, by the ideal velocity. */
interactives.register("flow", (stage) => {
  const points = Array.from({ length: 8 }, (_, m) => [2 * Math.cos((m * Math.PI) / 4), 2 * Math.sin((m * Math.PI) / 4)]);
  const chart = stage.chart({ width: 420, height: 400, x: [-3.2, 3.2], y: [-3.2, 3.2] });
  let seed = 7;
  const uniform = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  const noise = () => Array.from({ length: 40 }, () => [normal(), normal()]);
  let start = noise();
  stage.slider("steps", "steps", { min: 1, max: 40, step: 1, value: 20 });
  stage.slider("done", "how far", { min: 0, max: 1, step: 0.01, value: 1, told: (x) => `${Math.round(100 * x)} %` });
  stage.button("other noise", () => { start = noise(); });
  return () => {
    const { steps, done } = stage.values, taken = Math.round(done * steps), paths = [start];
    for (let k = 0; k < taken; k++) {
      const u = 1 - k / steps, slope = stage.call("diffusion.velocity", paths[k], points, u);
      paths.push(stage.call("diffusion.euler_step", paths[k], slope, -1 / steps));
    }
    const last = paths.at(-1), gap = ([x, y]) => Math.min(...points.map(([a, b]) => Math.hypot(x - a, y - b)));
    const near = last.filter((p) => gap(p) < 0.1).length;
    chart.clear();
    last.forEach((_, n) => chart.line(paths.map((path) => path[n][0]), paths.map((path) => path[n][1]), 3));
    chart.points(points.map(([x]) => x), points.map(([, y]) => y), 1, 6);
    chart.points(last.map(([x]) => x), last.map(([, y]) => y), 0, 3);
    stage.say(`After ${taken} of ${steps} steps ${near} of ${start.length} samples (blue) lie within 0.1 of one of the eight points (orange).`, { last, near });
  };
});
