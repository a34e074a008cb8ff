/* Pictures that answer: what a reader sets goes to the book's kernels (`dlbookKernels`), and what they give is drawn.
   Each is registered by a script of its page, interactive/<page>.js, and drawn in a figure of class "interactive";
   where no script runs, the figure is not shown, and the page's own pictures say the same. */

var interactives = (() => {
  "use strict";
  const NS = "http://www.w3.org/2000/svg", known = {};
  const SVG = new Set(["svg", "g", "path", "rect", "circle", "line", "text", "tspan", "title", "polyline", "polygon", "clipPath"]);
  let count = 0;

  function element(name, given = {}, ...content) {
    const made = SVG.has(name) ? document.createElementNS(NS, name) : document.createElement(name);
    for (const [key, value] of Object.entries(given)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...content);
    return made;
  }

  const shown = (x, digits = 3) =>
    Number.isFinite(x) ? String(Number(x.toPrecision(digits))).replace(/-/g, "−") : Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "−∞";

  /* The same draws from the same seed, on every machine; `again` begins anew with the seed */
  function random(seed) {
    let now = seed;
    const uniform = () => (now = (now * 48271) % 2147483647) / 2147483647;
    const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    return { uniform, normal, again: () => random(seed) };
  }

  /* Round numbers that cut a stretch into a few pieces */
  function ticks(low, high, most = 5) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
  }

  /* A drawing as wide as its place, one unit a pixel, so that texts are as large on a phone; with axes where `x` and
     `y` are given. `names` leaves the numbers of the horizontal axis out, for what has names. */
  class Chart {
    constructor(stage, { wide = 640, height = 260, x, y, xlabel = "", ylabel = "", names = false }) {
      const left = ylabel || y ? 54 : 0, bottom = xlabel ? 38 : x ? 22 : 0;
      Object.assign(this, { stage, wide, height, left, bottom, xlabel, ylabel, names, x, y });
      this.svg = element("svg", { role: "img" });
      this.title = element("title");
      this.inside = element("g");
      this.svg.append(this.title, this.inside);
    }
    range(x, y) {
      Object.assign(this, { x, y });
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
    /* Begin again; `height` may depend on the width. */
    clear(height = this.height) {
      this.height = height;
      this.width = Math.min(this.wide, this.stage.canvas.clientWidth || this.wide);
      for (const [name, value] of Object.entries({ viewBox: `0 0 ${this.width} ${height}`, width: this.width, height })) this.svg.setAttribute(name, value);
      this.inside.replaceChildren();
      if (!this.x) return;
      const { left, width, bottom } = this;
      for (const x of this.names ? [] : ticks(...this.x, width < 420 ? 4 : 6)) {
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
      this.cut ??= `clip-${++count}`;
      const path = element("clipPath", {}, element("rect", { x: left, y: 5, width: width - left - 5, height: height - bottom }));
      path.id = this.cut;
      this.inside.append(path);
    }
    get clip() {
      return { "clip-path": `url(#${this.cut})` };
    }
    line(xs, ys, series = 0, dashed = false) {
      const held = (y) => Math.min(2 * this.y[1] - this.y[0], Math.max(2 * this.y[0] - this.y[1], y));
      const points = xs.map((x, i) => [x, ys[i]]).filter(([, y]) => Number.isFinite(y)).map(([x, y]) => this.at(x, held(y)).map((p) => p.toFixed(1)).join(","));
      this.put("polyline", { class: `series s${series}${dashed ? " dashed" : ""}`, points: points.join(" "), ...this.clip });
    }
    points(xs, ys, series = 0, radius = 4) {
      xs.forEach((x, i) => {
        const [cx, cy] = this.at(x, ys[i]);
        this.put("circle", { class: `dot s${series}`, cx, cy, r: radius, ...this.clip });
      });
    }
    bars(xs, ys, series = 0, width = 0.8) {
      xs.forEach((x, i) => {
        const [x0, y0] = this.at(x - width / 2, Math.max(ys[i], 0)), [x1, y1] = this.at(x + width / 2, Math.min(ys[i], 0));
        this.put("rect", { class: `stick s${series}`, x: x0, y: y0, width: x1 - x0, height: Math.max(y1 - y0, 0) });
      });
    }
    text(x, y, words, given = {}) {
      const [px, py] = this.at(x, y);
      this.put("text", { x: px, y: py, ...given }, words);
    }
    /* A matrix as squares: blue below zero, orange above, as strong as the number is large; `across` and `down` name
       its axes, for which 18 pixels above and at the left are left; they are `wide` where that is another size. */
    squares(rows, { left = 0, top = 0, size = 24, wide = size, most, numbers = false, marked = () => false, across, down } = {}) {
      const largest = most ?? Math.max(...rows.flat().map(Math.abs), 1e-300);
      if (across) this.put("text", { x: left + (rows[0].length * wide) / 2, y: top - 6, "text-anchor": "middle" }, across);
      if (down) this.put("text", { transform: `translate(${left - 7} ${top + (rows.length * size) / 2}) rotate(-90)`, "text-anchor": "middle" }, down);
      rows.forEach((row, i) => row.forEach((value, j) => {
        const strength = Math.min(1, Math.abs(value) / largest), x = left + j * wide, y = top + i * size;
        this.put("rect", { class: `square ${value < 0 ? "s0" : "s1"}${marked(i, j) ? " marked" : ""}`, x, y, width: wide - 1, height: size - 1, "fill-opacity": strength.toFixed(3) });
        if (numbers) this.put("text", { x: x + wide / 2, y: y + size / 2 + 4, "text-anchor": "middle", class: "inside" }, shown(value, 2));
      }));
    }
    /* A picture of grey pixels, 0 paper and 1 ink, `size` pixels each */
    image(rows, { left = 0, top = 0, size = 6 } = {}) {
      rows.forEach((row, i) => row.forEach((value, j) => {
        const strength = Math.min(1, Math.max(0, value)).toFixed(3);
        if (value > 0.02) this.put("rect", { class: "pixel", x: left + j * size, y: top + i * size, width: size + 0.1, height: size + 0.1, "fill-opacity": strength });
      }));
      this.put("rect", { class: "around", x: left - 0.5, y: top - 0.5, width: rows[0].length * size + 1, height: rows.length * size + 1 });
    }
    /* A point to be dragged, which moves two controls; they serve the keyboard. A tap elsewhere brings it there. */
    handle(across, up, series = 1) {
      const { stage } = this, [cx, cy] = this.at(stage.values[across], stage.values[up]);
      this.put("circle", { class: `dot s${series} handle`, cx, cy, r: 7 });
      this.put("circle", { class: "grip", cx, cy, r: 22 });
      const moved = (event) => {
        const box = this.svg.getBoundingClientRect(), { left, width, height, bottom } = this;
        const px = ((event.clientX - box.left) / box.width) * width, py = ((event.clientY - box.top) / box.height) * height;
        const x = this.x[0] + ((px - left) / (width - left - 10)) * (this.x[1] - this.x[0]);
        const y = this.y[0] + (1 - (py - 10) / (height - bottom - 10)) * (this.y[1] - this.y[0]);
        stage.set({ [across]: x, [up]: y });
      };
      this.svg.onclick = moved;
      this.svg.onpointerdown = (event) => {
        if (!event.target.classList.contains("grip")) return;
        this.svg.setPointerCapture(event.pointerId);
        this.svg.onpointermove = moved;
      };
      this.svg.onpointerup = this.svg.onpointercancel = () => (this.svg.onpointermove = null);
    }
  }

  /* What an interactive gets: kernels, what was learned, controls, drawings, and a sentence that says what is seen */
  class Stage {
    constructor(figure, kernels, learned) {
      Object.assign(this, { figure, kernels, learned, inputs: {}, values: {}, numbers: {}, charts: [], calls: [] });
      this.controls = element("div", { class: "controls" });
      this.canvas = element("div", { class: "canvas" });
      this.words = element("output", { class: "said" });
      this.figure.querySelector(".stage").replaceChildren(this.controls, this.canvas, this.words);
    }
    /* Call a kernel by its name; results are nested lists. What was asked for a picture is kept, so that a test can
       ask the kernel itself the same. */
    call(name, ...given) {
      const result = dlbookKernels.nested(this.kernels[name](...given));
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
        this.draw(name);
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
    typed(name, label, value, maxlength) {
      return this.control(name, label, element("input", { type: "text", value, maxlength, spellcheck: "false", autocomplete: "off" }), value);
    }
    button(label, action) {
      const made = element("button", { type: "button", onclick: () => { action(); this.draw(); } }, label);
      this.controls.append(element("span"), made, element("span"));
      return made;
    }
    chart(given) {
      const chart = new Chart(this, given);
      this.charts.push(chart);
      this.canvas.append(chart.svg);
      return chart;
    }
    /* A place for a text of many lines */
    passage() {
      const made = element("p", { class: "passage" });
      this.canvas.append(made);
      return made;
    }
    /* Say in a sentence what the picture shows, and keep the numbers it was drawn from. */
    say(words, numbers) {
      this.words.textContent = words;
      this.charts.forEach((chart) => (chart.title.textContent = words));
      this.numbers = numbers;
    }
    /* Move controls without drawing: what a script does where one control leads another. */
    put(values) {
      for (const [name, value] of Object.entries(values)) {
        const input = this.inputs[name];
        if (input.type === "checkbox") input.checked = value;
        else input.value = value;
        input.changed();
      }
    }
    /* Move controls, as a reader would. */
    set(values) {
      this.put(values);
      this.draw();
    }
    /* Draw again; `moved` is the control that a reader has moved, if it was one. */
    draw(moved) {
      this.calls = [];
      this.redraw(moved);
    }
  }

  const register = (name, make) => (known[name] = make);

  /* What the page has learned, numbers in base64 by name, as kernels take them */
  function opened(learned = {}) {
    const half = (bits) => {
      const [sign, exponent, part] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
      if (exponent === 31) return part ? NaN : sign * Infinity;
      return sign * (exponent ? 2 ** (exponent - 15) * (1 + part / 1024) : 2 ** -24 * part);
    };
    return Object.fromEntries(Object.entries(learned).map(([name, value]) => {
      if (!value.numbers) return [name, value];
      const { buffer } = Uint8Array.from(atob(value.numbers), (c) => c.charCodeAt(0));
      const data = value.dtype === "float16" ? Float64Array.from(new Uint16Array(buffer), half) : Float64Array.from(new Float32Array(buffer));
      return [name, { shape: value.shape, data }];
    }));
  }

  /* Draw the interactive of a figure; return its stage. */
  async function start(figure, { code, table }, learned) {
    const stage = new Stage(figure, await dlbookKernels.load(code, table), opened(learned));
    stage.redraw = known[figure.dataset.name](stage);
    stage.draw();
    let width = stage.canvas.clientWidth;
    new ResizeObserver(() => {
      if (width !== stage.canvas.clientWidth) stage.draw();
      width = stage.canvas.clientWidth;
    }).observe(stage.canvas);
    figure.stage = stage;
    return stage;
  }

  return { register, start, shown, random, element };
})();
