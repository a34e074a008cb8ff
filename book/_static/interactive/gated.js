/* Interactives of the chapter on gated networks. */
"use strict";

/* A number is written into a cell, thirty inputs pass by, and one of them empties it. */
interactives.register("cell", (stage) => {
  const T = 30, WRITTEN = 3, steps = Array.from({ length: T + 1 }, (_, t) => t), axis = { x: [0, T], xlabel: "step t" };
  const passing = steps.map((t) => Math.sin(7 * t * t)); // as irregular as noise
  const cell = stage.chart({ ...axis, height: 210, y: [0, 1], ylabel: "cell c" });
  const gates = stage.chart({ ...axis, height: 140, y: [-0.06, 1.06], ylabel: "gates" });
  stage.slider("forget", "forget bias", { min: -4, max: 8, step: 0.5, value: 5 });
  stage.slider("input", "input bias", { min: -8, max: 4, step: 0.5, value: -5 });
  stage.slider("empty", "emptied at step", { min: 5, max: T + 1, step: 1, value: 22, told: (t) => (t > T ? "never" : String(t)) });
  const run = (forget, input, empty) => {
    const c = [[0]], f = [], i = [], state = [[0], [[0]]], one = ([w1, w2, w3], b) => [state[0], [[w1, w2, w3]], state[1], [b]];
    for (let t = 1; t <= T; t++) {
      const x = [Number(t === WRITTEN), Number(t === empty), t === WRITTEN ? 2 : passing[t]]; // write, empty, and what there is to write
      f.push(stage.call("gated.forget_gate", x, ...one([0, -15, 0], forget)));
      i.push(stage.call("gated.input_gate", x, ...one([12, 0, 0], input)));
      c.push(stage.call("gated.cell_state", f[t - 1], c[t - 1], i[t - 1], stage.call("gated.candidate", x, ...one([0, 0, 1], 0))));
    }
    return { c: c.flat(), f, i };
  };
  return () => {
    const { forget, input, empty } = stage.values, { shown } = interactives, { c, f, i } = run(forget, input, empty);
    const half = run(0, input, empty).c, last = empty - 1, [share] = stage.call("gated.cell_gradient", f.slice(WRITTEN, last));
    cell.range([0, T], [1.1 * Math.min(-0.2, ...c, ...half), 1.1 * Math.max(1, ...c, ...half)]);
    cell.clear();
    gates.clear();
    cell.line(steps, half, 3, true);
    cell.line(steps, c, 0);
    cell.points(steps, c, 0, 2.5);
    [[f, 2], [i, 1]].forEach(([gate, color]) => {
      gates.line(steps.slice(1), gate.flat(), color);
      gates.points(steps.slice(1), gate.flat(), color, 2.5);
    });
    const left = share < 0.001 ? "less than 0.1 %" : `${shown(100 * share)} %`;
    const emptied = empty > T ? "" : `At step ${empty} an input closes the forget gate, and the cell then holds ${shown(c[empty], 2)}. `;
    stage.say(`An input writes at step ${WRITTEN}, and the cell (blue) holds ${shown(c[WRITTEN])}. `
      + `Up to step ${last} the forget gate (green) is ${shown(f[0][0], 4)} and keeps ${left} of it; `
      + `with what the input gate (orange), ${shown(i[0][0])} after step ${WRITTEN}, lets in, the cell then holds ${shown(c[last])}. `
      + `${emptied}Dashed: the cell with a forget bias of 0, a gate of ½.`, { c, f, i, share });
  };
});

/* An LSTM that the page has trained: its gates and its cell at each step */
function lstmOf(stage) {
  const { wx, wh, b } = stage.learned, J = wh.shape[1];
  const cut = (data, n) => data.subarray((n * data.length) / 4, ((n + 1) * data.length) / 4);
  const part = ({ shape: [, ...more], data }, n) => ({ shape: [J, ...more], data: cut(data, n) });
  const [i, f, g, o] = [0, 1, 2, 3].map((n) => [wx, wh, b].map((all) => part(all, n)));
  const run = (inputs) => {
    let h = Array(J).fill(0), c = h;
    const steps = inputs.map((x) => {
      const open = [stage.call("gated.input_gate", x, h, ...i), stage.call("gated.forget_gate", x, h, ...f)];
      open.push(stage.call("gated.output_gate", x, h, ...o));
      c = stage.call("gated.cell_state", open[1], c, open[0], stage.call("gated.candidate", x, h, ...g));
      h = stage.call("gated.hidden_state", open[2], c);
      return [...open, c];
    });
    return { h, rows: (unit) => [0, 1, 2, 3].map((n) => steps.map((step) => step[n][unit - 1])) };
  };
  return { J, run };
}

/* The gates and the cell of one unit below the signs that were read, some of them marked; on a narrow page one block
   below the other */
function strips(chart, signs, marks, rows) {
  const LEFT = 62, BLOCK = 168;
  chart.clear();
  const most = Math.max(1, ...rows[3].map(Math.abs)), size = Math.max(14, Math.min(22, (chart.width - LEFT) / signs.length));
  const across = Math.floor((chart.width - LEFT) / size + 1e-9), blocks = Math.max(1, Math.ceil(signs.length / across));
  chart.clear(BLOCK * blocks);
  for (let block = 0; block < blocks; block++) {
    const top = BLOCK * block, now = [block * across, (block + 1) * across], here = signs.slice(...now), right = LEFT + size * here.length;
    ["input i", "forget f", "output o", "cell c"].forEach((name, n) => {
      const gate = n < 3, zero = top + [62, 94, 126, 146][n];
      chart.put("text", { x: LEFT - 8, y: zero + (gate ? -8 : 4), "text-anchor": "end" }, name);
      for (const y of gate ? [zero - 26, zero] : [zero]) chart.put("line", { class: "grid", x1: LEFT, x2: right, y1: y, y2: y });
      rows[n].slice(...now).forEach((value, t) => {
        const height = gate ? 26 * value : (16 * Math.abs(value)) / most, y = value > 0 ? zero - height : zero;
        chart.put("rect", { class: `square s${[1, 2, 3, 0][n]}`, x: LEFT + t * size + 1, y, width: size - 3, height });
      });
    });
    here.forEach((sign, t) => {
      const mark = marks[now[0] + t], x = LEFT + (t + 0.5) * size - 0.5;
      chart.put("text", { x, y: top + 28, "text-anchor": "middle", "font-weight": mark ? "bold" : "normal" }, sign);
      if (mark) chart.put("text", { x, y: top + 15, "text-anchor": "middle", "font-weight": "bold" }, "+");
    });
  }
}
const meanOf = (x) => x.reduce((a, b) => a + b, 0) / x.length;

/* Typed digits, some of them marked, run through the LSTM of the adding problem. */
interactives.register("gates", (stage) => {
  const { J, run } = lstmOf(stage), { learned } = stage, { shown } = interactives, OWN = "my own";
  const EXAMPLES = {
    "two marks": "31415+92653589+7932384626", "three marks": "31415+92653589+79323+84626", "one mark": "31415+926535897932384626",
    "two in a row": "31415926535+8+97932384626", "no mark": "31415926535897932384626",
  };
  const chart = stage.chart({ height: 160 });
  stage.typed("text", "digits and +", EXAMPLES["two marks"], 40);
  stage.choice("example", "example", [...Object.keys(EXAMPLES), OWN]);
  stage.slider("unit", "unit", { min: 1, max: J, step: 1, value: learned.unit + 1 });
  return (moved) => {
    if (moved === "text") stage.put({ example: OWN });
    if (moved === "example" && stage.values.example !== OWN) stage.put({ text: EXAMPLES[stage.values.example] });
    const { text, unit } = stage.values, read = [...text.matchAll(/(\+?)(\d)/g)], foreign = text.replace(/\+?\d/g, "").trim();
    const inputs = read.map(([, mark, digit]) => [digit / 10, Number(mark === "+")]), { h, rows: of } = run(inputs), rows = of(unit);
    const [[answer]] = stage.call("rnn.outputs", [h], learned.wy, learned.by);
    strips(chart, read.map(([, , digit]) => digit), read.map(([, mark]) => mark), rows);
    const marked = inputs.filter(([, mark]) => mark), sum = marked.reduce((all, [x]) => all + x, 0);
    const left = foreign ? " Other signs are left out." : "";
    const open = (mark) => shown(meanOf(rows[0].filter((_, t) => inputs[t][1] === mark)), 2), all = marked.length === read.length;
    const told = all ? `${open(1)}, all of them marked,` : marked.length ? `${open(1)} at marks, ${open(0)} elsewhere,` : open(0);
    const asked = marked.length ? `As tenths the marked digits add up to ${shown(sum)}` : "No digit is marked";
    const trained = marked.length === 2 ? "" : " It was trained with two marks.";
    stage.say(read.length
      ? `${asked}; the network answers ${shown(answer)}.${trained} In the mean over steps the input gate of unit ${unit} is ${told} `
        + `and its forget gate ${shown(meanOf(rows[1]))}; its cell ends at ${shown(rows[3].at(-1))}.${left}`
      : `Nothing to read: type digits, each with a + before it if it is to be added.${left}`, { inputs, rows, answer, sum });
  };
});

/* A typed sentence, letter by letter, and what the network expects after it */
interactives.register("sentence", (stage) => {
  const { J, run } = lstmOf(stage), { symbols, unknown, unit, wy, by } = stage.learned, { shown } = interactives;
  const known = [...symbols], seen = (letter) => ({ "\n": "↵", " ": "␣" })[letter] ?? letter, chart = stage.chart({ height: 160 });
  stage.typed("text", "sentence", "return the name of the function", 40);
  stage.slider("unit", "unit", { min: 1, max: J, step: 1, value: unit + 1 });
  return () => {
    const { text, unit } = stage.values, letters = [...text], at = letters.map((letter) => known.indexOf(known.includes(letter) ? letter : unknown));
    const { h, rows: of } = run(at.map((w) => known.map((_, v) => Number(v === w)))), rows = of(unit);
    const [p] = stage.call("linear_classification.softmax", stage.call("rnn.outputs", [h], wy, by));
    strips(chart, letters.map(seen), [], rows);
    const first = p.map((_, w) => w).sort((a, b) => p[b] - p[a]).slice(0, 5);
    const next = first.map((w) => `${seen(known[w])} (${shown(100 * p[w], 2)} %)`).join(", ");
    const strange = [...new Set(letters.filter((letter) => !known.includes(letter)))].join(" ");
    const blanks = rows[1].filter((_, t) => letters[t] === " "), others = rows[1].filter((_, t) => letters[t] !== " ");
    const means = [[blanks, "at blanks"], [others, "at other letters"]].filter(([some]) => some.length).map(([some, where]) => `${shown(meanOf(some), 2)} ${where}`);
    stage.say(`${strange ? `It has never seen ${strange}. ` : ""}${letters.length ? `The forget gate of unit ${unit} is ${means.join(" and ")}, in the mean. ` : ""}`
      + `What the network expects ${letters.length ? "next" : "before it has read anything"}: ${next}.`, { at, rows, p });
  };
});
