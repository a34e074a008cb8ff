/* Interactives of the chapter on regularization. */
"use strict";

/* Two weights and a price: the square divides, the absolute value subtracts and comes to rest at zero. */
interactives.register("price", (stage) => {
  const { shown } = interactives, MOST = 2.5, lams = Array.from({ length: 51 }, (_, i) => (i * MOST) / 50);
  const ROWS = [[1, 1], [-1, 1], [0, -2]].map(([u, v]) => [u / Math.sqrt(2), v / Math.sqrt(6)]);
  const turn = Array.from({ length: 121 }, (_, i) => (i * Math.PI) / 60);
  stage.slider("lam", "strength λ", { min: 0, max: MOST, step: 0.01, value: 0.9 });
  stage.slider("alike", "correlation of the columns", { min: -0.8, max: 0.8, step: 0.05, value: 0.55 });
  stage.slider("first", "w₁ of least squares", { min: -1.4, max: 2, step: 0.05, value: 0.35 });
  stage.slider("second", "w₂ of least squares", { min: -1, max: 2, step: 0.05, value: 1.5 });
  const plane = stage.chart({ wide: 460, x: [-1.6, 2.2], y: [-1.2, 2.2], xlabel: "w₁", ylabel: "w₂" });
  const chart = stage.chart({ height: 190, x: [0, MOST], y: [-1.5, 2.1], xlabel: "strength λ", ylabel: "w₂, and w₁ (dashed)" });
  return () => {
    const { lam, alike, first, second } = stage.values, high = Math.sqrt(1 - alike * alike), free = [first, second];
    const X = ROWS.map(([u, v]) => [u, alike * u + high * v]), y = X.map(([u, v]) => u * first + v * second); // columns of length one
    const lasso = (l1, from, sweeps) => {
      for (let w = from, n = 0; ; n++) {
        const next = stage.call("regularization.coordinate_sweep", X, y, w, l1, 0);
        if (n === sweeps || next.every((x, p) => Math.abs(x - w[p]) < 1e-12)) return next;
        w = next;
      }
    };
    const ridge = (l2) => stage.call("regularization.ridge_solution", X, y, l2), few = [];
    for (const l of lams) few.push(lasso(l, few.at(-1) ?? free, 12));
    const found = [ridge(lam), lasso(lam, free, 300)], paths = [lams.map(ridge), few];
    const end = stage.call("regularization.zeroing_l1", X, y), zeros = found.map((w) => w.filter((x) => Math.abs(x) < 1e-9).length);
    plane.clear(48 + (3.4 / 3.8) * (Math.min(plane.wide, stage.canvas.clientWidth || plane.wide) - 64)); // as long across as up
    chart.clear();
    chart.line([lam, lam], chart.y, 3);
    found.forEach((w, k) => {
      const size = k ? Math.abs(w[0]) + Math.abs(w[1]) : Math.hypot(...w), ball = turn.map((a) => [Math.cos(a), Math.sin(a)])
        .map(([u, v]) => [u, v].map((x) => (size * x) / (k ? Math.abs(u) + Math.abs(v) : 1)));
      const out = Math.sqrt(2 * stage.call("regularization.ridge_cost", X, y, w, 0)), draw = (points, series, dashed) =>
        plane.line(points.map(([u]) => u), points.map(([, v]) => v), series, dashed);
      draw(ball, k);
      draw(turn.map((a) => [first + out * (Math.cos(a) - (alike / high) * Math.sin(a)), second + (out / high) * Math.sin(a)]), 3);
      draw(paths[k], k, true);
      [0, 1].forEach((p) => chart.line(lams, paths[k].map((one) => one[p]), k, p === 0));
      chart.points([lam, lam], w, k);
    });
    found.forEach(([u, v], k) => plane.points([u], [v], k, 5));
    plane.handle("first", "second", 2);
    const pair = (w) => w.map((x) => shown(Number(x.toFixed(3)))).join(" and "), many = ["neither", "one", "both"];
    stage.say(`Least squares (green) has the weights ${pair(free)}. At λ = ${shown(lam)} the lasso (orange) has ${pair(found[1])}, `
      + `${many[zeros[1]]} zero; ridge regression (blue) has ${pair(found[0])}, ${many[zeros[0]]} zero. `
      + `From λ = ${shown(end)} on both weights of the lasso are zero.`,
      { ridge: found[0], lasso: found[1], end });
  };
});
