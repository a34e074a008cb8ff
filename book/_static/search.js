/* What this book adds to Sphinx's search: equations by number, name and sign; chapters before functions; excerpts
   without TeX; and, where nothing is found, the word that may have been meant. Works from a folder too. */

(() => {
  "use strict";
  const SHOWN = 8; // equations
  const primed = (text) => text.replace(/['’]/g, "′");
  const equations = dlbook.equations.map(([number, name, page, anchor, chapter, formula]) => ({ number, name, page, anchor, chapter, formula: primed(formula) }));
  const chapters = new Set(equations.map(({ page }) => page));
  const query = (new URLSearchParams(location.search).get("q") ?? "").trim();
  const words = (text) => text.match(/[\p{L}\p{N}_]+/gu) ?? [];
  const NUMBER = /^(?:eq\w*\.?\s*)?\(?(\d+\.\d+)\)?$/i;
  const SIGN = /^[\p{Script=Greek}∂∇′]+$/u; // σ is not Σ
  const terms = primed(query).split(/[\s()[\],;]+/).filter(Boolean).flatMap((part) => (SIGN.test(part) ? part : words(part)));

  /* Chapters first, then the pages of reference, then functions, last what only lists them */
  Scorer.score = ([docname, , , , score, , kind]) =>
    score + (kind === "object" ? 0 : /^(api\/|_modules|genindex|py-modindex)/.test(docname) ? -50 : chapters.has(docname) ? 100 : 50);

  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    page.querySelectorAll(".headerlink, script, style, .katex-mathml, .eqno, .cell_input, .kernel-box").forEach((e) => e.remove());
    const main = page.querySelector('[role="main"]');
    return ((anchor && main?.querySelector(anchor)) || main)?.textContent ?? "";
  };

  const element = (name, given, ...content) => {
    const made = Object.assign(document.createElement(name), given);
    made.append(...content);
    return made;
  };

  /* Equations that have this number, or all these words in their names, or these signs in their formulas */
  function matching() {
    const number = query.match(NUMBER)?.[1];
    if (number) return equations.filter((one) => one.number === number);
    const asked = terms.filter((term) => !/^equations?$/i.test(term));
    if (!asked.length) return [];
    const begins = (word, term) => (term.length > 1 ? word.startsWith(term) : word === term);
    const has = ({ name, page, chapter, formula }, term) =>
      SIGN.test(term)
        ? formula.includes(term)
        : words(`${name} ${page} ${chapter}`).some((other) => begins(other.toLowerCase(), term.toLowerCase()));
    const own = ({ name }) => asked.filter((term) => name.toLowerCase().includes(term.toLowerCase())).length;
    const exact = ({ name }) => name.toLowerCase() === query.toLowerCase();
    const met = (one) => asked.filter((term) => has(one, term)).length;
    const most = Math.max(...equations.map(met)); // one word of several may be missing
    if (most < Math.max(1, asked.length - 1)) return [];
    return equations.filter((one) => met(one) === most).sort((a, b) => exact(b) - exact(a) || own(b) - own(a));
  }

  function list(found) {
    const box = document.getElementById("equations-found");
    if (!found.length) return;
    const rows = found.slice(0, SHOWN).map(({ number, name, page, anchor, chapter, formula }) =>
      element("li", {}, element("a", { href: `${page}.html#${anchor}` }, `(${number}) ${name}`), ` in ${chapter}`,
        element("p", { className: "context" }, formula)));
    const more = found.length - SHOWN;
    box.append(element("h2", {}, "Equations"), element("ul", { className: "search", role: "list" }, ...rows));
    if (more > 0) box.append(element("p", {}, `… and ${more} more among `, element("a", { href: "equations.html" }, "all equations"), "."));
  }

  /* How many letters have to be changed, left out, added or exchanged with their neighbours, up to `most` */
  function distance(a, b, most) {
    if (Math.abs(a.length - b.length) > most) return most + 1;
    const rows = [[...Array(b.length + 1).keys()]];
    for (let i = 1; i <= a.length; i++) {
      rows[i] = [i];
      for (let j = 1; j <= b.length; j++) {
        const change = rows[i - 1][j - 1] + (a[i - 1] !== b[j - 1]);
        const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? rows[i - 2][j - 2] + 1 : Infinity;
        rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, change, swap);
      }
    }
    return rows[a.length][b.length];
  }

  function meant() {
    const { alltitles, terms, titleterms } = Search._index, stemmer = new Stemmer();
    const titles = [...Object.keys(alltitles), ...equations.map(({ name }) => name)].join(" ");
    const known = [...new Set(words(titles).map((word) => word.toLowerCase()))].filter((word) => word.length > 3);
    let changed = false;
    const better = words(query).map((word) => {
      const lower = word.toLowerCase(), stem = stemmer.stemWord(lower);
      if (Object.hasOwn(terms, stem) || Object.hasOwn(titleterms, stem) || lower.length < 4) return word;
      const most = lower.length < 7 ? 1 : 2, far = known.map((other) => distance(lower, other, most));
      const least = Math.min(...far);
      if (least > most) return word;
      changed = true;
      return known[far.indexOf(least)];
    });
    return changed ? better.join(" ") : undefined;
  }

  const run = Search.query;
  Search.query = (text) => {
    const found = matching(), plain = !NUMBER.test(query) && terms.some((term) => !SIGN.test(term) && /\p{L}/u.test(term));
    list(found);
    if (!plain && found.length) {
      // a number or a sign: nothing to look up among words
      Search.stopPulse();
      document.getElementById("search-results").hidden = true;
      return;
    }
    const other = meant();
    if (other) {
      const link = element("a", { href: `?q=${encodeURIComponent(other)}` }, other);
      document.getElementById("equations-found").before(element("p", { className: "meant" }, "Did you mean ", link, "?"));
    }
    run(text);
  };
})();
