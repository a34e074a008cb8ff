/* Pictures that answer: what a reader sets goes to the book's kernels (`dlbookKernels`), and what they give is drawn.
   Each is registered by a script of its page, interactive/<page>.js, and drawn in a figure of class "interactive";
   where no script runs, the figure is not shown, and the page's own pictures say the same. */

var interactives = (() => {
  "use strict";
  const NS = "http://www.w3.org/2000/svg", known = {};
  let count = 0;

  function element(name, given = {}, ...content) {
    const svg = ["svg", "g", "path", "rect", "circle", "line", "text", "title", "polyline"].includes(name);
    const made = svg ? document.createElementNS(NS, name) : document.createElement(name);
    for (const [key, value] of Object.entries(given)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...content);
    return made;
  }

  const shown = (x, digits = 3) =>
    Number.isFinite(x) ? String(Number(x.toPrecision(digits))).replace(/-/g, "−") : Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "−∞";

  /* What a kernel gives, as nested lists of numbers; several results as a list of those */
  function listed(value) {
    if (value === null || typeof value !== "object") return value === null ? null : Number(value);
    if (!value.data) return Object.values(value).map(listed);
    const { shape } = value, data = Array.from(value.data, Number);
    const nest = (flat, axes) => (axes.length < 2 ? flat : Array.from({ length: axes[0] }, (_, i) => {
      const step = flat.length / axes[0];
      return nest(flat.slice(i * step, (i + 1) * step), axes.slice(1));
    }));
    return shape.length ? nest(data, shape) : data[0];
  }

  /* Round numbers that cut a stretch into a few pieces */
  function ticks(low, high, most = 5) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
  }

  /* Axes with their numbers, cleared and drawn again whenever something changes. `names` leaves the numbers of the
     horizontal one out, for what has names; without `x` there are no axes, and squares are placed by hand. */
  class Chart {
    constructor(figure, { width = 600, height = 260, x, y, xlabel = "", ylabel = "", names = false }) {
      const left = ylabel || y ? 54 : 8, bottom = xlabel ? 38 : x ? 22 : 8;
      Object.assign(this, { figure, width, height, left, bottom, xlabel, ylabel, names });
      this.svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
      this.title = element("title");
      this.inside = element("g");
      this.svg.append(this.title, this.inside);
      if (x) this.range(x, y);
    }
    range(x, y) {
      this.x = x;
      this.y = y;
    }
    at(x, y) {
      const { width, height, left, bottom } = this;
      return [
        left + ((x - this.x[0]) / (this.x[1] - this.x[0])) * (width - left - 10),
        10 + (1 - (y - this.y[0]) / (this.y[1] - this.y[0])) * (height - bottom - 10),
      ];
    }
    put(name, given, ...content) {
      const made = element(name, given, ...content);
      this.inside.append(made);
      return made;
    }
    clear() {
      this.inside.replaceChildren();
      if (!this.x) return;
      const { left, width, height, bottom } = this;
      for (const x of this.names ? [] : ticks(...this.x)) {
        const [px] = this.at(x, this.y[0]);
        this.put("line", { class: "grid", x1: px, x2: px, y1: 10, y2: height - bottom });
        this.put("text", { x: px, y: height - bottom + 14, "text-anchor": "middle" }, shown(x));
      }
      for (const y of ticks(...this.y, 4)) {
        const [, py] = this.at(this.x[0], y);
        this.put("line", { class: "grid", x1: left, x2: width - 10, y1: py, y2: py });
        this.put("text", { x: left - 6, y: py + 4, "text-anchor": "end" }, shown(y));
      }
      const middle = left + (width - left - 10) / 2;
      if (this.xlabel) this.put("text", { x: middle, y: height - 6, "text-anchor": "middle" }, this.xlabel);
      if (this.ylabel) this.put("text", { transform: `translate(12 ${10 + (height - bottom - 10) / 2}) rotate(-90)`, "text-anchor": "middle" }, this.ylabel);
    }
    line(xs, ys, series = 0, dashed = false) {
      const held = (y) => Math.min(this.y[1] + (this.y[1] - this.y[0]), Math.max(this.y[0] - (this.y[1] - this.y[0]), y));
      const points = xs.map((x, i) => [x, ys[i]]).filter(([, y]) => Number.isFinite(y)).map(([x, y]) => this.at(x, held(y)).map((p) => p.toFixed(1)).join(","));
      this.put("polyline", { class: `series s${series}${dashed ? " dashed" : ""}`, points: points.join(" "), "clip-path": this.clip() });
    }
    points(xs, ys, series = 0, radius = 4) {
      xs.forEach((x, i) => {
        const [cx, cy] = this.at(x, ys[i]);
        this.put("circle", { class: `dot s${series}`, cx, cy, r: radius, "clip-path": this.clip() });
      });
    }
    bars(xs, ys, series = 0, width = 0.8) {
      xs.forEach((x, i) => {
        const [x0, y0] = this.at(x - width / 2, Math.max(ys[i], 0)), [x1, y1] = this.at(x + width / 2, Math.min(ys[i], 0));
        this.put("rect", { class: `bar s${series}`, x: x0, y: y0, width: x1 - x0, height: Math.max(y1 - y0, 0) });
      });
    }
    text(x, y, words, given = {}) {
      const [px, py] = this.at(x, y);
      this.put("text", { x: px, y: py, ...given }, words);
    }
    /* A matrix as squares: blue below zero, orange above, as strong as the number is large */
    squares(rows, { left = 0, top = 0, size = 24, most, numbers = false, marked = () => false } = {}) {
      const largest = most ?? Math.max(...rows.flat().map(Math.abs), 1e-300);
      rows.forEach((row, i) => row.forEach((value, j) => {
        const strength = Math.min(1, Math.abs(value) / largest), x = left + j * size, y = top + i * size;
        this.put("rect", { class: `square ${value < 0 ? "s0" : "s1"}${marked(i, j) ? " marked" : ""}`, x, y, width: size - 1, height: size - 1, "fill-opacity": strength.toFixed(3) });
        if (numbers) this.put("text", { x: x + size / 2, y: y + size / 2 + 4, "text-anchor": "middle", class: "inside" }, shown(value, 2));
      }));
    }
    clip() {
      this.cut ??= `clip-${++count}`;
      if (!this.svg.querySelector(`#${this.cut}`)) {
        const { left, width, height, bottom } = this, path = document.createElementNS(NS, "clipPath");
        path.id = this.cut;
        path.append(element("rect", { x: left, y: 5, width: width - left - 5, height: height - bottom }));
        this.svg.append(path);
      }
      return `url(#${this.cut})`;
    }
  }

  /* What an interactive gets: controls, charts, and a sentence that says what is seen */
  class Stage {
    constructor(figure, kernels) {
      Object.assign(this, { figure, kernels, inputs: {}, values: {}, numbers: {}, charts: [], calls: [] });
      this.controls = element("div", { class: "controls" });
      this.canvas = element("div", { class: "canvas" });
      this.words = element("output", { class: "said" });
      this.figure.querySelector(".stage").replaceChildren(this.controls, this.canvas, this.words);
    }
    /* Call a kernel by its name; results are nested lists. What was asked for a picture is kept, so that a test can
       ask the kernel itself the same. */
    call(name, ...given) {
      const result = listed(this.kernels[name](...given));
      this.calls.push({ name, given, result });
      return result;
    }
    control(name, label, input, value, told) {
      const id = `interactive-${++count}`, output = element("span", { class: "value" });
      input.id = id;
      this.values[name] = value;
      const changed = () => {
        this.values[name] = input.type === "checkbox" ? input.checked : input.type === "range" ? Number(input.value) : input.value;
        const words = told ? told(this.values[name]) : input.type === "range" ? shown(this.values[name]) : "";
        output.textContent = words;
        if (words) input.setAttribute("aria-valuetext", words);
      };
      input.addEventListener("input", () => {
        changed();
        this.draw();
      });
      this.controls.append(element("label", { for: id }, label), input, output);
      this.inputs[name] = input;
      input.changed = changed;
      changed();
      return input;
    }
    slider(name, label, { min, max, step, value, told }) {
      return this.control(name, label, element("input", { type: "range", min, max, step, value }), value, told);
    }
    choice(name, label, options, value = options[0]) {
      const rows = options.map((one) => element("option", { value: one, selected: one === value }, one));
      return this.control(name, label, element("select", {}, ...rows), value);
    }
    box(name, label, value = false) {
      return this.control(name, label, element("input", { type: "checkbox", checked: value }), value);
    }
    typed(name, label, value) {
      return this.control(name, label, element("input", { type: "text", value, spellcheck: "false", autocomplete: "off" }), value);
    }
    button(label, action) {
      const made = element("button", { type: "button", onclick: () => { action(); this.draw(); } }, label);
      this.controls.append(element("span"), made, element("span"));
      return made;
    }
    chart(given) {
      const chart = new Chart(this.figure, given);
      this.charts.push(chart);
      this.canvas.append(chart.svg);
      return chart;
    }
    /* Say in a sentence what the picture shows, and keep the numbers it was drawn from. */
    say(words, numbers) {
      this.words.textContent = words;
      this.charts.forEach((chart) => (chart.title.textContent = words));
      this.numbers = numbers;
    }
    /* Move controls, as a reader would. */
    set(values) {
      for (const [name, value] of Object.entries(values)) {
        this.inputs[name].value = value;
        this.inputs[name].changed();
      }
      this.draw();
    }
    draw() {
      this.calls = [];
      this.redraw();
    }
  }

  const register = (name, make) => (known[name] = make);

  /* Draw the interactive of a figure; return its stage. */
  async function start(figure, { code, table }) {
    const { name } = figure.dataset, stage = new Stage(figure, await dlbookKernels.load(code, table));
    stage.redraw = known[name](stage);
    stage.draw();
    figure.stage = stage;
    return stage;
  }

  return { register, start, shown };
})();
