/* Interactives of the chapter on the transformer. */
"use strict";

/* What top-k and the nucleus keep after two beginnings: one that has a single continuation, and one that has many. */
interactives.register("sampling", (stage) => {
  const AFTER = {
    "The capital of France is": [
      ["Paris", "a", "the", "not", "now", "in", "also", "still", "one", "Lyon", "home", "where"],
      [0.88, 0.025, 0.02, 0.018, 0.012, 0.011, 0.009, 0.007, 0.006, 0.005, 0.004, 0.003]],
    "I would like to": [
      ["go", "see", "have", "know", "thank", "say", "be", "make", "stay", "ask", "buy", "of"],
      [0.13, 0.12, 0.115, 0.11, 0.1, 0.09, 0.085, 0.075, 0.07, 0.06, 0.04, 0.005]],
  };
  const rows = Object.entries(AFTER).map(([start, [words, p]]) => ({
    start, words, p, chart: stage.chart({ height: 170, x: [-0.6, 11.6], y: [0, 1], ylabel: "probability", names: true }),
  }));
  stage.slider("K", "top-k: words kept K", { min: 1, max: 12, step: 1, value: 4 });
  stage.slider("mass", "nucleus: probability ρ", { min: 0.05, max: 1, step: 0.01, value: 0.9 });
  return () => {
    const { K, mass } = stage.values, { shown } = interactives, numbers = { p: rows.map(({ p }) => p), top: [], nucleus: [] };
    const said = rows.map(({ start, words, p, chart }) => {
      const cuts = { top: stage.call("transformer.top_k", p, K), nucleus: stage.call("transformer.nucleus", p, mass) };
      const high = Math.max(...cuts.top, ...cuts.nucleus) > 0.5 ? 1.05 : 0.55;
      chart.range([-0.6, 11.6], [0, high]);
      chart.clear();
      chart.bars(words.map((_, w) => w), p, 3);
      chart.bars(words.map((_, w) => w - 0.16), cuts.top, 0, 0.28);
      chart.bars(words.map((_, w) => w + 0.16), cuts.nucleus, 1, 0.28);
      words.forEach((word, w) => chart.text(w, 0, word, { "text-anchor": "middle", dy: 15 }));
      chart.text(11.5, high * 0.88, `${start} …`, { "text-anchor": "end" });
      const [top, nucleus] = Object.entries(cuts).map(([name, q]) => {
        numbers[name].push(q);
        const has = p.reduce((sum, x, w) => (q[w] > 0 ? sum + x : sum), 0);
        return [q.filter((x) => x > 0).length, shown(100 * has)];
      });
      return `After “${start}” top-k (blue) keeps ${top[0]} of 12 words with ${top[1]} % of the probability, the nucleus (orange) `
        + `${nucleus[0]} with ${nucleus[1]} %.`;
    });
    stage.say(said.join(" "), numbers);
  };
});
