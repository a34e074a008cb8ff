/* Interactives of the chapter on embeddings. */
"use strict";

/* Counts of pairs, of which one is set by the reader, and what they become when chance is divided out. */
interactives.register("counts", (stage) => {
  const words = ["the", "of", "tea", "coffee", "cup", "river", "boat", "bridge"], [left, top, size, step] = [52, 70, 22, 196];
  const start = [
    [40, 58, 18, 16, 14, 26, 18, 19], [58, 10, 14, 13, 28, 17, 11, 13], [18, 14, 2, 9, 15, 0, 1, 0], [16, 13, 9, 2, 11, 1, 0, 0],
    [14, 28, 15, 11, 2, 0, 1, 0], [26, 17, 0, 1, 0, 2, 14, 15], [18, 11, 1, 0, 1, 14, 2, 8], [19, 13, 0, 0, 0, 15, 8, 2],
  ];
  const chart = stage.chart({ width: 640, height: 255 });
  stage.choice("word", "word", words, "tea");
  stage.choice("context", "context", words, "cup");
  stage.slider("count", "how often they met", { min: 0, max: 60, step: 1, value: 15 });
  stage.slider("K", "shift by log K", { min: 1, max: 4, step: 0.1, value: 1, told: (k) => `K = ${interactives.shown(k)}` });
  for (const name of ["word", "context"]) { // another pair begins with its own count
    stage.inputs[name].addEventListener("input", () => {
      stage.set({ count: start[words.indexOf(stage.values.word)][words.indexOf(stage.values.context)] });
    });
  }
  return () => {
    const { word, context, count, K } = stage.values, { shown } = interactives, v = words.indexOf(word), c = words.indexOf(context);
    const here = (i, j) => (i === v && j === c) || (i === c && j === v);
    const n = start.map((row, i) => row.map((x, j) => (here(i, j) ? count : x)));
    const pmi = stage.call("embeddings.pmi", n), ppmi = stage.call("embeddings.ppmi", n, K);
    chart.clear();
    [["counts", n], ["PMI", pmi], ["PPMI", ppmi]].forEach(([name, rows], k) => {
      const at = left + k * step;
      chart.squares(rows, { left: at, top, size, most: k ? 1.2 : 60, numbers: k === 0, marked: here });
      chart.put("text", { x: at + 4 * size, y: 14, "text-anchor": "middle" }, name);
      words.forEach((one, j) => chart.put("text", { transform: `translate(${at + j * size + 15} ${top - 5}) rotate(-50)` }, one));
    });
    words.forEach((one, i) => chart.put("text", { x: left - 6, y: top + i * size + 15, "text-anchor": "end" }, one));
    const most = n.flat().indexOf(Math.max(...n.flat())), [i, j] = [Math.floor(most / 8), most % 8];
    const pair = `“${word}” and ${v === c ? "another " : ""}“${context}”`;
    const told = count === 0 ? `${pair} never met: their PMI is ${shown(pmi[v][c])}, and their PPMI ${shown(ppmi[v][c])}.`
      : `${pair} met ${count === 1 ? "once" : `${count} times`}, ${shown(Math.exp(pmi[v][c]), 2)} times as often as by chance: their PMI is `
        + `${shown(pmi[v][c], 2)}, their PPMI ${shown(ppmi[v][c], 2)}.`;
    const largest = `The largest count, ${n[i][j]}, is that of “${words[i]}” and “${words[j]}”, with a PMI of ${shown(pmi[i][j], 2)}.`;
    stage.say(`${told} ${largest}`, { n, pmi, ppmi });
  };
});
