/* Interactives of the chapter on language models. */
"use strict";

/* The same scores at another temperature: from the likeliest symbol alone to all alike. */
interactives.register("temperature", (stage) => {
  const letters = ["e", "t", "a", "o", "i", "n", "s", "q"], z = [3, 2.5, 2.2, 1.8, 1.5, 1.2, 0.4, -2];
  const { shown, random } = interactives, chart = stage.chart({ x: [-0.6, 7.6], y: [0, 1.08], ylabel: "probability", names: true });
  stage.slider("log", "temperature τ", { min: -1.3, max: 1.3, step: 0.05, value: 0, told: (x) => shown(10 ** x) });
  const text = stage.passage();
  let draws = random(1);
  stage.button("draw anew", () => { draws = random(Math.floor(draws.uniform() * 2e9) + 1); });
  const small = 0.001, fixed = (x) => (x >= small ? shown(x, 2) : "less than 0.001");
  return () => {
    const tau = 10 ** stage.values.log, p = stage.call("language_models.temper", z, tau), { uniform } = draws.again();
    const bits = p.reduce((sum, x) => (x > 0 ? sum - x * Math.log2(x) : sum), 0);
    const drawn = Array.from({ length: 40 }, () => {
      let rest = uniform(), v = 0;
      while (v < p.length - 1 && (rest -= p[v]) > 0) v++;
      return letters[v];
    });
    chart.clear();
    chart.bars(letters.map((_, v) => v), p, 0);
    letters.forEach((letter, v) => {
      chart.text(v, p[v] + 0.03, p[v] < small ? "0" : fixed(p[v]), { "text-anchor": "middle" });
      chart.text(v, 0, letter, { "text-anchor": "middle", dy: 15 });
    });
    text.textContent = drawn.join(" ");
    stage.say(`At τ = ${shown(tau)} the likeliest letter has the probability ${fixed(p[0])}, the least likely ${fixed(p[7])}; the entropy is `
      + `${shown(bits)} bits, where eight equal letters have 3. Forty letters drawn so are written above.`, { p, bits });
  };
});
