/* Interactives of the chapter on regularization. */
"use strict";

/* Two weights and a price: the square divides, the absolute value subtracts and comes to rest at zero. */
interactives.register("price", (stage) => {
  const { shown } = interactives, MOST = 2.5, lams = Array.from({ length: 51 }, (_, i) => (i * MOST) / 50);
  const ROWS = [[1, 1], [-1, 1], [0, -2]].map(([u, v]) => [u / Math.sqrt(2), v / Math.sqrt(6)]);
  const turn = Array.from({ length: 121 }, (_, i) => (i * Math.PI) / 60);
  const plane = stage.chart({ height: 360, x: [-2.4, 2.75], y: [-1, 2], xlabel: "w₁", ylabel: "w₂" });
  const chart = stage.chart({ height: 190, x: [0, MOST], y: [-1, 2], xlabel: "strength λ", ylabel: "w₂, and w₁ (dashed)" });
  stage.slider("lam", "strength λ", { min: 0, max: MOST, step: 0.01, value: 0.9 });
  stage.slider("alike", "correlation of the columns", { min: -0.8, max: 0.8, step: 0.05, value: 0.55 });
  stage.slider("first", "w₁ of least squares", { min: -0.95, max: 1.45, step: 0.1, value: 0.35 });
  return () => {
    const { lam, alike, first } = stage.values, high = Math.sqrt(1 - alike * alike), free = [first, 1.5];
    const X = ROWS.map(([u, v]) => [u, alike * u + high * v]), y = X.map(([u, v]) => u * first + v * 1.5); // columns of length one
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
    plane.clear();
    chart.clear();
    plane.points([free[0]], [free[1]], 2, 5);
    chart.line([lam, lam], chart.y, 3);
    found.forEach((w, k) => {
      const size = k ? Math.abs(w[0]) + Math.abs(w[1]) : Math.hypot(...w), ball = turn.map((a) => [Math.cos(a), Math.sin(a)])
        .map(([u, v]) => [u, v].map((x) => (size * x) / (k ? Math.abs(u) + Math.abs(v) : 1)));
      const out = Math.sqrt(2 * stage.call("regularization.ridge_cost", X, y, w, 0));
      plane.line(ball.map(([u]) => u), ball.map(([, v]) => v), k);
      const oval = turn.map((a) => [first + out * (Math.cos(a) - (alike / high) * Math.sin(a)), 1.5 + (out / high) * Math.sin(a)]);
      plane.line(oval.map(([u]) => u), oval.map(([, v]) => v), 3);
      plane.line(paths[k].map(([u]) => u), paths[k].map(([, v]) => v), k, true);
      [0, 1].forEach((p) => chart.line(lams, paths[k].map((one) => one[p]), k, p === 0));
      chart.points([lam, lam], w, k);
    });
    found.forEach(([u, v], k) => plane.points([u], [v], k, 5));
    const pair = (w) => w.map((x) => shown(Number(x.toFixed(3)))).join(" and "), many = ["none", "one", "both"];
    stage.say(`At λ = ${shown(lam)} the lasso (orange) has the weights ${pair(found[1])}, ${many[zeros[1]]} of them zero; `
      + `ridge regression (blue) ${pair(found[0])}, ${many[zeros[0]]} of them zero; least squares (green) ${pair(free)}. `
      + `From λ = ${shown(end)} on both weights of the lasso are zero.`, { ridge: found[0], lasso: found[1], end });
  };
});
