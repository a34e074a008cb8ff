/* Interactives of the chapter on attention. */
"use strict";

/* Every place gets a row of numbers, and near places get rows that are alike. */
interactives.register("positions", (stage) => {
  const T = 32, { shown } = interactives, table = stage.chart({ height: 250 });
  const chart = stage.chart({ height: 200, x: [0, T - 1], y: [-1.05, 1.05], xlabel: "place", ylabel: "cosine" });
  stage.slider("place", "place", { min: 0, max: T - 1, step: 1, value: 10 });
  stage.slider("width", "numbers for a place M", { min: 2, max: 24, step: 2, value: 16 });
  return () => {
    const { place, width } = stage.values, rows = stage.call("attention.positional_encoding", T, width);
    const scores = stage.call("attention.scaled_scores", [rows[place]], rows)[0];
    const alike = scores.map((score) => (score * Math.sqrt(width)) / (width / 2)); // cosine: each row has length √(M/2)
    const columns = rows[0].map((_, m) => rows.map((row) => row[m]));
    table.clear();
    table.clear(22 + Math.min(240, (24 * (table.width - 24)) / T));
    const wide = (table.width - 24) / T, size = Math.min(wide, 240 / width);
    table.squares(columns, { left: 20, top: 20, size, wide, most: 1, across: "places →", down: "numbers", marked: (m, t) => t === place });
    chart.clear();
    chart.line(alike.map((_, t) => t), alike, 0);
    chart.points([place], [alike[place]], 1);
    const next = place < T - 1 ? place + 1 : place - 1, far = place < T / 2 ? T - 1 : 0;
    stage.say(`Above, a column for each of ${T} places: its ${width} sines and cosines, blue below zero, orange above. Below, the cosine of each `
      + `column with that of place ${place}: ${shown(alike[next], 2)} for place ${next} beside it, ${shown(alike[far], 2)} for place ${far}, the farthest.`,
    { rows, alike });
  };
});

/* Hands that are turned by the places of a query and of a key: their product knows the distance alone. */
interactives.register("rotary", (stage) => {
  const T = 32, M = 8, MOST = 1.2, { shown } = interactives;
  const query = [0.9, 0.3, -0.4, 0.8, 0.6, -0.5, 0.2, 0.9], key = [0.7, 0.6, 0.5, 0.6, -0.3, 0.8, 0.1, 1];
  const clocks = stage.chart({ height: 120 });
  const chart = stage.chart({ height: 200, x: [0, T - 1], y: [-MOST, MOST], xlabel: "place of the key", ylabel: "score" });
  stage.slider("asking", "place of the query", { min: 0, max: 23, step: 1, value: 4 });
  stage.slider("held", "place of the key", { min: 0, max: 23, step: 1, value: 9 });
  stage.slider("later", "both later by", { min: 0, max: 8, step: 1, value: 0 });
  const hand = (middle, radius, x, y, series) => {
    const size = radius / Math.max(1, Math.hypot(x, y));
    clocks.put("line", { class: `series s${series}`, x1: middle, y1: 56, x2: middle + size * x, y2: 56 - size * y });
  };
  return () => {
    const { asking, held, later } = stage.values, t = asking + later, s = held + later;
    const turned = (row) => stage.call("attention.rotary", Array.from({ length: T }, () => row));
    const queries = turned(query), keys = turned(key), scores = stage.call("attention.scaled_scores", [queries[t]], keys)[0];
    clocks.clear();
    for (let i = 0; i < M / 2; i += 1) {
      const wide = clocks.width / (M / 2), middle = (i + 0.5) * wide, radius = Math.min(46, wide / 2 - 6);
      clocks.put("circle", { class: "grid", fill: "none", cx: middle, cy: 56, r: radius });
      hand(middle, radius, queries[t][2 * i], queries[t][2 * i + 1], 0);
      hand(middle, radius, keys[s][2 * i], keys[s][2 * i + 1], 1);
      clocks.put("text", { x: middle, y: 116, "text-anchor": "middle" }, `pair ${i + 1}`);
    }
    chart.clear();
    chart.line(scores.map((_, n) => n), scores, 0);
    chart.points([s], [scores[s]], 1);
    stage.say(`The query stands at place ${t}, the key at place ${s}: with this distance of ${Math.abs(s - t)} their score is ${shown(scores[s], 3)}, `
      + "wherever they stand. The curve has the scores of this query with the same key at each place.", { scores });
  };
});
