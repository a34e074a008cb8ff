/* Interactives of the chapter on linear regression. */
"use strict";

/* One point that can be moved: how far it takes the line with it, and where the line would be without it. */
interactives.register("fit", (stage) => {
  const xs = [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4], ys = [2.1, 1.9, 3, 2.8, 3.9, 3.7, 4.6, 4.4];
  const fine = Array.from({ length: 201 }, (_, i) => i / 20), shown = (x, digits) => interactives.shown(Math.abs(x) < 1e-9 ? 0 : x, digits);
  stage.slider("place", "x of the orange point", { min: 0, max: 10, step: 0.1, value: 9 });
  stage.slider("height", "its y", { min: 0, max: 10, step: 0.1, value: 3 });
  stage.slider("degree", "highest power of x", { min: 1, max: 3, step: 1, value: 1 });
  const chart = stage.chart({ x: [0, 10], y: [0, 10], xlabel: "x", ylabel: "y" });
  const below = stage.chart({ height: 140, x: [0, 10], y: [0, 1], xlabel: "x", ylabel: "leverage h" });
  const fit = (x, y, degree) => {
    const X = stage.call("linear_regression.powers", x, degree), [Q, R] = stage.call("linear_regression.householder_qr", X);
    return { Q, beta: stage.call("linear_regression.qr_solution", Q, R, y) };
  };
  return () => {
    const { place, height, degree } = stage.values, all = [...xs, place], y = [...ys, height], own = xs.length;
    const { Q, beta } = fit(all, y, degree), without = fit(xs, ys, degree).beta;
    const value = (x, beta) => stage.call("linear_regression.predict", stage.call("linear_regression.powers", x, degree), beta);
    const fitted = value(all, beta), e = y.map((v, n) => v - fitted[n]), h = stage.call("linear_regression.leverages", Q);
    const apart = stage.call("linear_regression.left_out_errors", e, h);
    chart.clear();
    chart.line(fine, value(fine, without), 0, true);
    chart.line(fine, value(fine, beta), 0);
    chart.line([place, place], [height, height - apart[own]], 1, true);
    chart.line([place, place], [height, fitted[own]], 1);
    chart.points(xs, ys, 0);
    chart.handle("place", "height", 1);
    below.clear();
    below.bars(xs, h.slice(0, own), 0, 0.2);
    below.bars([place], [h[own]], 1, 0.2);
    const name = degree === 1 ? "line" : "curve", together = h.reduce((sum, x) => sum + x, 0), lever = shown(h[own], h[own] > 0.99 ? 6 : 3);
    stage.say(`The orange point has the leverage h = ${lever}: raised by 1, it takes the ${name} there up by ${lever}. `
      + `The ${name} misses it by e = ${shown(e[own])}, the fit without it (dashed) by e/(1 − h) = ${shown(apart[own])}, `
      + `${shown(1 / (1 - h[own]))} times as much. All leverages add up to ${shown(together)}, the number of coefficients.`, { beta, h, e, apart });
  };
});
