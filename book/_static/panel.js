/* The panel of a live equation: its right-hand side to edit, forms to try, and the numbers of its cases, which can be
   changed. What is right is judged by `liveEquations`; here is what a reader sees and touches. */

var livePanel = (() => {
  "use strict";
  const SIGNS = { "Σ_": "sum", σ: "sigma", "′": "prime", "·": "times", "√": "root", "²": "squared" }; // what keyboards lack
  const SHOWN = 120; // numbers of a result
  const MOST = { numbers: 400, whole: 64 }; // of a reader's own, so that every kernel answers at once
  const DIGITS = 4;
  let count = 0;

  function element(name, { text, ...given } = {}, ...content) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(given)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...(text === undefined ? content : [text]));
    return made;
  }

  const shown = (x) =>
    Number.isFinite(x) ? String(Number.isSafeInteger(x) ? x : Number(x.toPrecision(DIGITS))).replace(/-/g, "−") : Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "−∞";

  /* Numbers as text: a row in a line, a matrix in lines, more in blocks */
  function laid({ shape, data }, each = (x) => shown(x)) {
    const inner = shape.at(-1) ?? 1, rows = shape.at(-2) ?? 1, found = [];
    for (const [n, x] of Array.from(data).slice(0, SHOWN).entries()) {
      if (n) found.push(n % inner ? "  " : n % (inner * rows) ? "\n" : "\n\n");
      found.push(each(x, n));
    }
    if (data.length > SHOWN) found.push(` … (${data.length} numbers)`);
    return found;
  }

  const nested = (data, shape) =>
    shape.length < 2 ? data : Array.from({ length: shape[0] }, (_, i) => {
      const step = data.length / shape[0];
      return nested(data.slice(i * step, (i + 1) * step), shape.slice(1));
    });

  /* What was typed for an argument; the shape of the case stands for what lines do not tell */
  function typed(name, kind, text, { shape, data }) {
    const said = (words) => { throw new Error(`${name}: ${words}`); };
    const number = (word) => {
      const x = Number(word.replace(/−/g, "-").replace(/^(-?)(?:∞|inf(?:inity)?)$/i, "$1Infinity").replace(/^nan$/i, "NaN"));
      if (Number.isNaN(x) && word !== "NaN") said(`“${word}” is not a number`);
      if (/int/.test(kind.array ?? kind) && !Number.isSafeInteger(x)) said(`“${word}” is not a whole number`);
      return x;
    };
    const words = (line) => line.split(/[\s,;]+/).filter(Boolean).map(number);
    const rank = kind.array ? kind.axes.length : 0, all = words(text);
    if (all.length > MOST.numbers) said(`at most ${MOST.numbers} numbers can be given here`);
    const most = Math.max(MOST.whole, 2 * Math.max(...data.map(Math.abs)));
    if (rank === 0 && /int/.test(kind) && Math.abs(all[0]) > most) said(`at most ${most} here`);
    if (rank === 0) return all.length === 1 ? (/bool/.test(kind) ? all[0] !== 0 : all[0]) : said("one number is wanted");
    if (!all.length) said("there is nothing here");
    if (rank === 1) return { [kind.array]: all };
    if (rank === 2) {
      const rows = text.split("\n").map(words).filter((row) => row.length);
      if (rows.some((row) => row.length !== rows[0].length)) said("its rows have different lengths");
      return { [kind.array]: rows };
    }
    const wanted = shape.reduce((a, b) => a * b, 1);
    return all.length === wanted ? { [kind.array]: nested(all, shape) } : said(`${wanted} numbers are wanted, not ${all.length}`);
  }

  const axes = (kind) => (kind.axes?.length ? `[${kind.axes.map((a) => a ?? "·").join(", ")}]` : "");
  const sizes = (shape) => (shape.length ? shape.join(" × ") : "");

  /* Fill a panel for an equation. `back` puts the focus where it came from; `first` is what stands there when nobody
     has asked for the panel, which then does not take the focus. */
  function fill(panel, page, { label, number }, back, first) {
    const id = `live-${++count}`, equation = page.equation(label), short = equation.kernel.split(".").at(-1);
    const close = () => {
      panel.remove();
      back();
    };
    const head = element("div", { class: "live-head" },
      element("p", {}, `Equation (${number}), answered by `, element("code", { text: equation.kernel })),
      element("button", { type: "button", class: "live-close", onclick: close, text: "Close" }));
    panel.replaceChildren(head);
    panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
    });
    panel.reopen = () => (panel.querySelector(".live-line textarea") ?? head.querySelector("button")).focus();
    if (equation.refused) {
      panel.append(element("p", { text: `This kernel does not run in a page: it ${equation.refused}. In the notebook of the chapter it does.` }));
      return panel.reopen();
    }

    const flat = (value) => { // with its shape, also where it is one number
      const x = page.plain(value);
      return typeof x === "number" ? { shape: [], data: [x] } : x;
    };
    const kinds = Object.entries(page.kinds(label)), stock = page.cases(label), editable = equation.formula !== undefined;
    const different = ({ result }) => new Set([result].flat(9).flatMap(({ data }) => data)).size;
    const rich = stock.map(different);
    let chosen = rich.indexOf(Math.max(...rich)), own, bad = false; // the case shown; the reader's numbers, whether they are none

    /* The right-hand side */
    const verdict = element("output", { class: "live-verdict" }), place = element("p", { class: "live-place" });
    const left = equation.left?.length ? `[${equation.left.join(", ")}]` : "";
    const text = element("textarea", { id, rows: 1, spellcheck: "false", autocapitalize: "off", autocomplete: "off", oninput: () => judged(true) });
    text.setAttribute("aria-describedby", `${id}-names`);

    /* `edited` is whether the text has changed: then the worst case is shown, else the one that was chosen */
    function judged(edited) {
      text.style.height = "auto";
      text.style.height = `${text.scrollHeight}px`;
      const said = page.judge(label, text.value, own);
      verdict.className = `live-verdict ${said.right ? "passed" : "failed"}`;
      verdict.textContent = `${said.right ? "✓" : "✗"} ${said.words}`;
      place.hidden = said.kind === undefined || said.end <= said.start;
      if (!place.hidden) {
        const [before, at, after] = [[0, said.start], [said.start, said.end], [said.end]].map((ends) => text.value.slice(...ends));
        place.replaceChildren(element("code", {}, before, element("mark", { text: at }), after));
      }
      for (const button of forms.children) button.setAttribute("aria-pressed", String(button.value === text.value));
      if (edited && !said.right && said.case !== undefined && own === undefined) chosen = said.case;
      show(said);
    }
    const write = (value) => {
      text.value = value;
      judged(true);
    };
    const insert = (sign) => {
      text.setRangeText(sign, text.selectionStart, text.selectionEnd, "end");
      text.focus();
      judged(true);
    };
    const forms = element("div", { class: "live-forms", role: "group", "aria-label": "Forms to try" },
      ...(editable ? [["as the book has it", equation.formula], ...equation.wrong] : []).map(([name, value]) =>
        element("button", { type: "button", value, onclick: () => write(value), text: name })));
    if (editable) {
      const names = kinds.filter(([, kind]) => !kind.tuple).map(([name, kind]) => name + axes(kind)).join(", ");
      const letters = Object.keys(stock[0].sizes), sized = letters.length ? `; ${letters.join(", ")}: the size${letters.length > 1 ? "s" : ""} of the ax${letters.length > 1 ? "es" : "is"} ${letters.join(", ").toLowerCase()}, counted from 0` : "";
      panel.append(
        element("div", { class: "live-line" }, element("label", { for: id }, element("code", { text: `${short}${left} =` })), text),
        element("div", { class: "live-signs", role: "group", "aria-label": "Signs to insert" },
          ...Object.entries(SIGNS).map(([sign, name]) =>
            element("button", { type: "button", title: name, onclick: () => insert(sign), text: sign }))),
        element("p", { class: "live-names", id: `${id}-names` }, "Names: ", element("code", { text: names }), sized,
          "; a sum is Σ_k …, or sum(k, …), a product needs its *."),
        verdict, place, forms);
    }

    /* The numbers */
    const inputs = kinds.map(([name, kind], i) => {
      const fixed = kind.tuple !== undefined || kind === "none";
      const box = element(kind.array ? "textarea" : "input", { id: `${id}-${i}`, spellcheck: "false", inputmode: "text", autocomplete: "off", oninput: changed });
      box.readOnly = fixed;
      return { name, kind, box, fixed, size: element("span", { class: "live-size" }) };
    });
    const results = element("div", { class: "live-results" }), wrong = element("output", { class: "live-wrong" });
    const which = element("span", {}), summary = element("summary", {});
    const turn = (step) => () => {
      chosen = (chosen + step + stock.length) % stock.length;
      restored();
    };
    const again = element("button", { type: "button", onclick: restored, text: "back to the case" });
    const turns = [["previous case", -1], ["next case", 1]].map(([words, step]) =>
      element("button", { type: "button", onclick: turn(step), text: words }));
    const numbers = element("div", {},
      element("p", { class: "live-case" }, which, ...(stock.length > 1 ? turns : []), again),
      ...inputs.map(({ name, kind, box, size }) => element("div", { class: "live-input" },
        element("label", { for: box.id }, element("code", { text: name + axes(kind) }), " ", size), box)),
      wrong, results);
    panel.append(editable ? element("details", {}, summary, numbers) : numbers);

    function put() {
      stock[chosen].args.forEach((value, i) => {
        const { kind, box, fixed } = inputs[i], x = fixed ? undefined : flat(value);
        box.value = fixed ? JSON.stringify(value) : laid(x).join("");
        if (fixed) return;
        if (x.data.length > SHOWN) box.value = x.data.map(shown).join(" ");
        if (kind.array) box.rows = Math.min(8, box.value.split("\n").length);
      });
    }
    function restored() {
      own = undefined;
      bad = false;
      wrong.textContent = "";
      for (const { box } of inputs) box.touched = false;
      put();
      refreshed();
    }
    function changed({ target }) {
      const before = (own ?? stock[chosen]).args;
      try {
        const args = inputs.map(({ name, kind, box }, i) => // what was not touched stays as it is, to the last digit
          box === target || box.touched ? typed(name, kind, box.value, flat(stock[chosen].args[i])) : before[i]);
        target.touched = true;
        own = page.tried(label, args, "");
        wrong.textContent = "";
      } catch (error) {
        if (error instanceof TypeError) throw error;
        target.touched = true;
        own = undefined; // nothing is judged by numbers that are not there
        wrong.textContent = `✗ ${error.message.replace(/^\w*Error: /, "")}`;
        bad = true;
        return refreshed();
      }
      bad = false;
      refreshed();
    }
    const refreshed = () => (editable ? judged() : show());

    function show(said) {
      const one = own ?? stock[chosen];
      const words = own ? "your numbers" : `case ${chosen + 1} of ${stock.length}`;
      summary.textContent = `The numbers: ${words}`;
      which.textContent = own ? "Your numbers " : `Case ${chosen + 1} of ${stock.length}, checked by ${one.by} `;
      again.hidden = !own && !bad;
      one.args.forEach((value, i) => {
        inputs[i].size.textContent = inputs[i].fixed ? "" : sizes(flat(value).shape);
      });
      if (!own && !bad) put();
      results.hidden = bad;
      if (bad) return;
      const parts = Array.isArray(one.result) ? one.result : [one.result];
      const kernel = parts.map((part, n) => [parts.length > 1 ? `the kernel, result ${n + 1}` : "the kernel", laid(Array.isArray(part) ? part.flat()[0] : part)]);
      const found = said?.found?.[own ? stock.length : chosen];
      if (found) {
        const apart = said.apart[own ? stock.length : chosen] ?? [];
        kernel.push(["yours", laid(found, (x, n) => (apart[n] ? element("mark", { text: shown(x) }) : shown(x)))]);
      }
      results.replaceChildren(element("dl", {}, ...kernel.flatMap(([name, content]) =>
        [element("dt", { text: name }), element("dd", {}, element("pre", {}, ...content))])));
    }

    put();
    if (editable) {
      write(first ?? equation.formula);
      if (first !== undefined) return;
      text.focus();
      text.setSelectionRange(text.value.length, text.value.length);
    } else {
      show();
      panel.reopen();
    }
  }

  return { fill };
})();
