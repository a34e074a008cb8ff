/* Interactives of the chapter on language models. */
"use strict";

/* The same scores at another temperature: from the likeliest symbol alone to all alike. */
interactives.register("temperature", (stage) => {
  const letters = ["e", "t", "a", "o", "i", "n", "s", "q"], z = [3, 2.5, 2.2, 1.8, 1.5, 1.2, 0.4, -2];
  const chart = stage.chart({ x: [-0.6, 7.6], y: [0, 1], ylabel: "probability", names: true });
  stage.slider("log", "temperature τ", { min: -1.3, max: 1.3, step: 0.05, value: 0, told: (x) => interactives.shown(10 ** x) });
  let drawn = "", seed = 1;
  stage.button("write forty letters", () => {
    const p = stage.call("language_models.temper", z, 10 ** stage.values.log);
    drawn = Array.from({ length: 40 }, () => {
      seed = (seed * 48271) % 2147483647;
      let rest = seed / 2147483647, v = 0;
      while (v < p.length - 1 && (rest -= p[v]) > 0) v++;
      return letters[v];
    }).join("");
  });
  return () => {
    const tau = 10 ** stage.values.log, p = stage.call("language_models.temper", z, tau);
    const bits = p.reduce((sum, x) => (x > 0 ? sum - x * Math.log2(x) : sum), 0);
    chart.clear();
    chart.bars(letters.map((_, v) => v), p, 0);
    letters.forEach((letter, v) => chart.text(v, p[v] + 0.03, letter, { "text-anchor": "middle" }));
    stage.say(`At τ = ${interactives.shown(tau)} the likeliest letter has ${interactives.shown(100 * p[0], 2)} of a hundred, the least likely ${interactives.shown(100 * p[7], 1)}; `
      + `the entropy is ${interactives.shown(bits)} bits, at most 3.${drawn ? ` Written: ${drawn}` : ""}`, { p, bits });
  };
});
