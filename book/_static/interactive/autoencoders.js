/* Interactives of the chapter on autoencoders. */
"use strict";

/* The plane of two code numbers: what the decoder draws at a point, what it is read as, and whose code lies nearest. */
interactives.register("latent", (stage) => {
  const { low, high, codes, labels, images, w1, b1, w2, b2, w5, b5, w6, b6, w7, b7 } = stage.learned;
  const [left, bottom] = low.data, [right, top] = high.data, two = (x) => x.toFixed(2).replace("-", "−");
  const all = Array.from(labels, (label, n) => ({ label, x: codes.data[2 * n], y: codes.data[2 * n + 1], n }))
    .filter(({ x, y }) => x >= left && x <= right && y >= bottom && y <= top);
  const rows = (flat, k) => ({ shape: [flat.length / k, k], data: Float64Array.from(flat) });
  const relu = (z) => rows(stage.call("neurons.relu", z.flat()), z[0].length);
  const plane = stage.chart({ wide: 430, x: [left, right], y: [bottom, top], xlabel: "first number", ylabel: "second number" });
  const pictures = stage.chart({});
  stage.canvas.style.cssText = "display: flex; flex-wrap: wrap; justify-content: center";
  for (const [name, label, min, max, part] of [["across", "first number", left, right, 0.15], ["up", "second number", bottom, top, 0.5]])
    stage.slider(name, label, { min, max, step: (max - min) / 100, value: min + part * (max - min), told: two });
  return () => {
    const { across, up } = stage.values;
    const second = stage.call("neurons.affine", relu(stage.call("neurons.affine", [[across, up]], w5, b5)), w6, b6);
    const [a] = stage.call("neurons.affine", relu(second), w7, b7), drawn = stage.call("linear_classification.sigmoid", a);
    const scores = stage.call("neurons.affine", relu(stage.call("neurons.affine", [drawn], w1, b1)), w2, b2);
    const [p] = stage.call("linear_classification.softmax", scores), sure = Math.max(...p), read = p.indexOf(sure);
    const far = ({ x, y }) => Math.hypot(x - across, y - up), near = all.reduce((best, one) => (far(one) < far(best) ? one : best));
    const original = Array.from(images.data.subarray(64 * near.n, 64 * near.n + 64));
    const missed = stage.call("autoencoders.reconstruction", [drawn], [original]);
    const narrow = stage.canvas.clientWidth < 640, size = narrow ? 13 : 15;
    plane.clear(narrow ? 290 : 340);
    const cover = (one, other) => { // would their marks cover each other?
      const [x, y] = plane.at(one.x, one.y), [u, v] = plane.at(other.x, other.y);
      return Math.abs(u - x) < 12 && Math.abs(v - y) < 13;
    };
    const kept = all.reduce((some, one) => (some.some((other) => cover(one, other)) ? some : [...some, one]), []);
    for (const one of [...kept.filter((other) => !cover(near, other)), near]) {
      const [x, y] = plane.at(one.x, one.y);
      plane.put("circle", { class: `dot s${one.label % 4}`, cx: x, cy: y, r: 7, "fill-opacity": 0.25 });
      plane.put("text", { x, y: y + 4, "text-anchor": "middle" }, one.label);
      if (one === near) plane.put("circle", { class: "around", cx: x, cy: y, r: 9 });
    }
    plane.handle("across", "up");
    pictures.wide = narrow ? 290 : 190;
    pictures.clear(narrow ? 130 : 320);
    [["drawn at the point", drawn], ["nearest held-out digit", original]].forEach(([name, x], k) => {
      const at = narrow ? 20 + 140 * k : 20, y = narrow ? 20 : 20 + 160 * k;
      pictures.put("text", { x: at, y: y - 7 }, name);
      pictures.image(Array.from({ length: 8 }, (_, i) => x.slice(8 * i, 8 * i + 8)), { left: at, top: y, size });
    });
    const one = (digit) => `${digit === 8 ? "an" : "a"} ${digit}`;
    stage.say(`At (${two(across)}, ${two(up)}) the decoder draws what a classifier reads as ${one(read)}, with a probability of `
      + `${sure > 0.99 ? "more than 0.99" : two(sure)}. The nearest code of a held-out digit in this frame (ringed) lies ${two(far(near))} away. `
      + `It is that of ${one(Number(near.label))}, and what is drawn misses it by a squared error of ${interactives.shown(missed)}.`,
      { p, drawn, missed });
  };
});
