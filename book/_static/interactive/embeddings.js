/* Interactives of the chapter on embeddings. */
"use strict";

/* Counts of pairs, of which one is set by the reader, and what they become when chance is divided out. */
interactives.register("counts", (stage) => {
  const words = ["the", "of", "tea", "coffee", "cup", "river", "boat", "bridge"];
  const start = [
    [40, 58, 18, 16, 14, 26, 18, 19], [58, 10, 14, 13, 28, 17, 11, 13], [18, 14, 2, 9, 15, 0, 1, 0], [16, 13, 9, 2, 11, 1, 0, 0],
    [14, 28, 15, 11, 2, 0, 1, 0], [26, 17, 0, 1, 0, 2, 14, 15], [18, 11, 1, 0, 1, 14, 2, 8], [19, 13, 0, 0, 0, 15, 8, 2],
  ];
  const chart = stage.chart({});
  stage.choice("word", "word", words, "tea");
  stage.choice("context", "context", words, "cup");
  stage.slider("count", "how often they met", { min: 0, max: 60, step: 1, value: 15 });
  stage.slider("K", "shift by log K", { min: 1, max: 4, step: 0.1, value: 1, told: (k) => `K = ${interactives.shown(k)}` });
  return (moved) => {
    const { shown } = interactives, [v, c] = [stage.values.word, stage.values.context].map((one) => words.indexOf(one));
    if (moved === "word" || moved === "context") stage.put({ count: start[v][c] }); // another pair begins with its own count
    const { word, context, count, K } = stage.values, here = (i, j) => (i === v && j === c) || (i === c && j === v);
    const n = start.map((row, i) => row.map((x, j) => (here(i, j) ? count : x)));
    const pmi = stage.call("embeddings.pmi", n), ppmi = stage.call("embeddings.ppmi", n, K);
    chart.clear();
    const { width } = chart, narrow = width < 560, left = 62, top = 78;
    const size = narrow ? Math.min(24, Math.floor((width - left - 16) / 8)) : Math.floor((width - left - 46) / 24);
    const small = narrow ? Math.floor((width - left - 34) / 16) : size, below = narrow ? 2 * top + 8 * size : top;
    chart.clear(below + 8 * small + 4);
    const put = (name, rows, x, y, size, given) => {
      chart.squares(rows, { left: x, top: y, size, marked: here, ...given });
      chart.put("text", { x: x + 4 * size, y: y - 62, "text-anchor": "middle" }, name);
      words.forEach((one, j) => chart.put("text", { transform: `translate(${x + (j + 0.5) * size + 3} ${y - 5}) rotate(-60)` }, one));
      if (x === left) words.forEach((one, i) => chart.put("text", { x: x - 6, y: y + (i + 0.5) * size + 4, "text-anchor": "end" }, one));
    };
    put("counts", n, left, top, size, { most: 60, numbers: true });
    put("PMI", pmi, narrow ? left : left + 8 * size + 15, below, small, { most: 2 });
    put("PPMI", ppmi, narrow ? left + 8 * small + 18 : left + 16 * size + 30, below, small, { most: 2 });
    const pair = `“${word}” and ${v === c ? "another " : ""}“${context}”`, most = n.flat().indexOf(Math.max(...n.flat()));
    const [i, j] = [Math.floor(most / 8), most % 8], odds = shown(Math.exp(pmi[v][c]), 2);
    const often = count === 1 ? "once" : count === 2 ? "twice" : `${count} times`;
    const kept = `PPMI${K > 1 ? ` (K = ${shown(K)})` : ""} is ${shown(ppmi[v][c], 2)}`;
    const told = count === 0 ? `${pair} never met: their PMI is −∞, and their ${kept}.`
      : `${pair} met ${often}, ${odds === "1" ? "about" : `${odds} times`} as often as by chance: `
        + `their PMI is ${shown(pmi[v][c], 2)}, and their ${kept}.`;
    const largest = `No count is larger than ${n[i][j]}, that of “${words[i]}” and “${words[j]}”, with a PMI of ${shown(pmi[i][j], 2)}.`;
    stage.say(`${told} ${largest}`, { n, pmi, ppmi });
  };
});

/* The words nearest to one that the reader types, and to what analogy makes of three. */
interactives.register("neighbours", (stage) => {
  const { words, vectors } = stage.learned, number = new Map(words.map((word, v) => [word, v])), D = vectors.shape[1], OWN = "your own";
  const asked = { // c: a and b
    method: ["object", "objects"], tuple: ["list", "lists"], left: ["lower", "upper"], lower: ["true", "false"], key: ["value", "values"],
    parameter: ["argument", "arguments"],
  };
  const chart = stage.chart({}), { element } = interactives;
  const known = element("datalist", { id: "interactive-neighbours-words" }, ...[...words].sort().map((value) => element("option", { value })));
  stage.choice("example", "example", [...Object.keys(asked), OWN]);
  for (const [name, label, value] of [["c", "word c", "method"], ["b", "plus b", "objects"], ["a", "minus a", "object"]])
    stage.typed(name, label, value, 24).setAttribute("list", known.id);
  stage.box("itself", "allow these words as answers");
  stage.controls.append(known);
  return (moved) => {
    const { shown } = interactives, { example, itself } = stage.values;
    if (moved === "example" && asked[example]) stage.put({ c: example, a: asked[example][0], b: asked[example][1] });
    if (["a", "b", "c"].includes(moved)) stage.put({ example: OWN });
    const [a, b, c] = ["a", "b", "c"].map((name) => stage.values[name].trim().toLowerCase());
    const best = (scores, without) => scores.map((score, v) => ({ score, word: words[v] }))
      .filter(({ word }) => itself || !without.includes(word)).sort((one, two) => two.score - one.score).slice(0, 8);
    const row = (v) => ({ shape: [D], data: vectors.data.subarray(v * D, (v + 1) * D) });
    const lists = [], at = [a, b, c].map((word) => number.get(word)), three = at.every((v) => v !== undefined);
    const strange = [c, b, a].filter((word) => word && !number.has(word));
    if (number.has(c)) lists.push([`nearest to ${c}`, best(stage.call("embeddings.cosines", row(number.get(c)), vectors), [c])]);
    if (three) lists.push([`nearest to ${b} − ${a} + ${c}`, best(stage.call("embeddings.analogy_scores", vectors, ...at), [a, b, c])]);
    chart.clear();
    const { width } = chart, narrow = width < 520, wide = narrow ? width : width / 2 - 10, step = 22, tall = 28 + 8 * step;
    chart.clear((narrow ? Math.max(1, lists.length) : 1) * tall);
    lists.forEach(([title, found], k) => {
      const x = narrow ? 0 : k * (width - wide), y = narrow ? k * tall : 0;
      const names = Math.max(...found.map(({ word }) => word.length)) * 7 + 8;
      const scale = wide - names - 36, short = title.length * 6.6 > wide ? "nearest to b − a + c" : title;
      chart.put("text", { x, y: y + 14 }, short);
      found.forEach(({ score, word }, i) => {
        const at = y + 24 + i * step, long = Math.max(0, score) * scale;
        chart.put("text", { x: x + names - 6, y: at + 14, "text-anchor": "end" }, word);
        chart.put("rect", { class: `stick s${k}`, x: x + names, y: at + 2, width: long, height: step - 6 });
        chart.put("text", { x: x + names + long + 5, y: at + 14 }, score.toFixed(2));
      });
    });
    const [near, sum] = lists.map(([, found]) => found[0]), said = [];
    const called = (word) => `“${word}”`, begun = strange[0] && words.filter((word) => word.startsWith(strange[0])).slice(0, 4);
    if (!c) said.push("Type a word c to see which others are near it.");
    if (near) said.push(`Nearest to ${called(c)} is ${called(near.word)}, with a cosine of ${shown(near.score, 2)} (blue).`);
    if (sum) said.push(`Nearest to ${b} − ${a} + ${c} is ${called(sum.word)}, with ${shown(sum.score, 2)} (orange)`
      + `${[a, b, c].includes(sum.word) ? ", one of the words that were asked with" : sum.word === near.word ? `, as for ${called(c)} alone` : ""}.`);
    if (strange.length) said.push(`${strange.map(called).join(" and ")} ${strange.length > 1 ? "are" : "is"} not `
      + `among the ${words.length.toLocaleString("en")} words that have a vector`
      + `${begun.length ? `; ${begun.map(called).join(", ")} would be` : ""}.`);
    else if (c && !three) said.push("With all three words there is an analogy, too.");
    stage.say(said.join(" "), { lists });
  };
});
