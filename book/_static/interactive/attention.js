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
