// Read the built site in Chromium and write down what was found, as JSON.
// node read.mjs SITE OUT CHAPTER,CHAPTER,... PAGE,PAGE,...
//
// Nothing is judged here: test_site.py says what is right.

import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { extname, join, normalize } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [site, out, chapterList, pageList] = process.argv.slice(2);
const pages = pageList.split(",");
const chapters = new Set(chapterList.split(",").filter(Boolean));
const THEMES = ["light", "dark"];
const WIDTHS = [1280, 768, 390];
const ALIKE = 10; // texts of one style whose colours are read; a finding names five
const KEYED = 3; // marks of a page that are opened by key too; all have the same script
const PATIENCE = 300_000; // ms; a busy machine is no fault of a page
const WHOLE = "article section { content-visibility: visible !important }";
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const CHROMIUM = {
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
};
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".json": "application/json",
  ".woff2": "font/woff2",
};

function serve() {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    try {
      const body = readFileSync(join(site, path.endsWith("/") ? `${path}index.html` : path));
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((ready) => server.listen(0, "127.0.0.1", () => ready(server)));
}

const server = await serve();
const origin = `http://127.0.0.1:${server.address().port}/`;
const folder = pathToFileURL(`${site}/`).href;
const browser = await chromium.launch(CHROMIUM); // a new, empty profile each time
const report = Object.fromEntries(
  pages.map((name) => [name, { outside: [], noise: [], missing: [], looks: {}, axe: {} }]),
);

/** Open a page and note each request, message and failure on the way. What is far from the screen is laid out when it
 *  comes near; a page that is read `whole` is laid out to its end. */
async function open(name, { base = origin, theme = "light", width = 1280, scripts = true, query = "", whole = false }) {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: theme,
    reducedMotion: "reduce", // what moves would be measured on its way
    javaScriptEnabled: scripts,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const notes = report[name];
  const where = `${base === folder ? "file" : "http"} ${theme} ${width}${scripts ? "" : " without scripts"}`;
  page.on("request", (request) => {
    const url = request.url();
    if (!/^(data|blob|about):/.test(url) && !url.startsWith(base)) notes.outside.push(`${where}: ${url}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) notes.missing.push(`${where}: ${response.status()} ${response.url()}`);
  });
  page.on("requestfailed", (request) => notes.missing.push(`${where}: failed ${request.url()}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) notes.noise.push(`${where}: ${message.text()}`);
  });
  page.on("pageerror", (error) => notes.noise.push(`${where}: ${error.message}`));
  await page.goto(base + name + query, { waitUntil: "load" });
  if (whole) await page.evaluate(wholly, WHOLE);
  return page;
}

const QUERIES = ["softmax", "LSTM", "8.9", "σ′", "Σ", "backpropogation", "overflow"];
const wholly = (rule) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: rule })); // without scripts too
};
const close = (page) => page.context().close();
const settled = (page) =>
  page.evaluate(async () => {
    await document.fonts.ready; // numbers are placed by the width of formulas
    const filling = () => document.querySelector(".answers[data-open]") && !document.querySelector(".live-close");
    while (filling()) await new Promise((done) => setTimeout(done, 20)); // a panel that is open from the beginning
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    while (document.querySelector(".interactive[aria-busy]")) await new Promise((done) => setTimeout(done, 20));
  });

/** What can be measured on a page as it stands. Runs in the browser. */
function look() {
  const box = (element) => element.getBoundingClientRect();
  const shown = (element) => element.checkVisibility();
  const all = (selector) => [...document.querySelectorAll(selector)];
  const words = (text) => text.trim().replace(/\s+/g, " ").slice(0, 90);
  const prose = document.querySelector("article").cloneNode(true);
  prose.querySelectorAll("pre, code, .katex, script, style, svg, .genindextable").forEach((e) => e.remove());
  const raw =
    prose.textContent.match(
      /.{0,30}(?:\$[^$\s]|\\[a-zA-Z]{2,}|\{(?:eq|numref|cite|ref|doc|math|kernel)[:}\w]*\}|```|:::).{0,30}/gu,
    ) ?? [];
  const apart = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
  const numbered = all("div.math").filter((math) => math.querySelector(".eqno"));
  return {
    words: document.querySelector("article").innerText.split(/\s+/).length,
    overflow: document.documentElement.scrollWidth - innerWidth,
    clipped: all("article pre")
      .filter((pre) => shown(pre) && pre.scrollWidth > pre.clientWidth + 1)
      .map((pre) => words(pre.textContent.split("\n").reduce((a, b) => (a.length >= b.length ? a : b)))),
    cut: all("div.math")
      .filter((math) => {
        const formula = math.querySelector(".formula");
        return formula && shown(formula) && formula.scrollWidth > formula.clientWidth + 1;
      })
      .map((math) => words((math.querySelector(".eqno") ?? math).textContent)),
    small: all(".frame svg")
      .filter((svg) => shown(svg) && (8 * svg.clientWidth) / svg.viewBox.baseVal.width < 8.99)
      .map((svg) => words(svg.closest(".frame").getAttribute("aria-label"))),
    stuck: all("article pre, article .formula, article .frame, article .table-wrapper")
      .filter((e) => shown(e) && e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0)
      .map((e) => words(e.textContent)),
    nameless: [
      ...all("img").filter((img) => !img.hasAttribute("alt") || /^_images\//.test(img.alt)),
      ...all(".frame").filter((frame) => !frame.getAttribute("aria-label")?.trim()),
      ...all("article svg").filter((svg) => !svg.closest("[role=img], [aria-hidden=true], button")),
    ].map((e) => e.outerHTML.slice(0, 120)),
    raw: raw.map(words),
    broken: all(".katex-error").map((e) => words(e.textContent)),
    fonts: !document.querySelector(".katex") || document.fonts.check("16px KaTeX_Main"),
    overlapping: numbered
      .filter((math) => {
        const [formula, number] = [".formula", ".eqno"].map((s) => box(math.querySelector(s)));
        return !apart(formula, number) || number.right > innerWidth || number.left < 0;
      })
      .map((math) => words(math.querySelector(".eqno").textContent)),
  };
}

/** Axe, with every rule of the tags; those about colours; those and the other that asks what lies where ("places");
 *  or the rest, which reads elements alone. Nothing is left out. */
async function accessible(page, part = "html", which = "all") {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
  const { violations } = await page.evaluate(
    ([within, tags, some]) => {
      const { getRules, run } = globalThis.axe;
      const about = getRules(tags).filter((rule) => rule.tags.includes("cat.color") && !rule.tags.includes("experimental"));
      const colours = about.map((rule) => rule.ruleId);
      const places = [...colours, "target-size"];
      const only = { colours, places }[some];
      return run(within, {
        runOnly: only ? { type: "rule", values: only } : { type: "tag", values: tags },
        rules: some === "rest" ? Object.fromEntries(places.map((rule) => [rule, { enabled: false }])) : {},
        resultTypes: ["violations"],
        preload: location.protocol !== "file:" && !only,
      });
    },
    [part, TAGS, which],
  );
  return violations.flatMap(({ id, nodes }) =>
    nodes.slice(0, 5).map((n) => `${id}: ${n.target.join(" ")} ${n.any[0]?.message ?? n.failureSummary}`.slice(0, 300)),
  );
}

/** Note what the rules about colours read of each text inside code, formulas and drawings, in one theme. */
function noteColours() {
  const styles = (globalThis.styles ??= new Map());
  const grounds = new Map([[null, ""]]);
  const ground = (element) => {
    if (!grounds.has(element)) {
      const { backgroundColor, backgroundImage, opacity, filter, mixBlendMode } = getComputedStyle(element);
      const own = [backgroundColor, backgroundImage, opacity, filter, mixBlendMode].join();
      grounds.set(element, `${ground(element.parentElement)} ${own}`);
    }
    return grounds.get(element);
  };
  for (const element of document.querySelectorAll(":is(pre, .katex, .frame) *")) {
    const text = [...element.childNodes].map((node) => (node.nodeType === 3 ? node.data : "")).join("").trim();
    if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
    const { color, fontSize, fontWeight, textShadow } = getComputedStyle(element);
    const style = [ground(element), element.namespaceURI, text.length > 1, color, fontSize, fontWeight, textShadow];
    styles.set(element, `${styles.get(element) ?? ""} ${style}`);
  }
}

/** Leave of code, formulas and drawings only some texts of each style that was noted, and all links. What stands
 *  on the background of something that does not contain it stays too. */
function thin(most) {
  const inside = ":is(pre, .katex, .frame)";
  globalThis.texts = new Map([...document.querySelectorAll("pre, .katex")].map((e) => [e, e.textContent]));
  const kept = new Set();
  const keep = (element) => {
    for (let e = element; e && !kept.has(e); e = e.parentElement) kept.add(e);
  };
  document.querySelectorAll(`${inside} :is(a, a *), .katex:has([style*=background]) *`).forEach(keep);
  const seen = new Map();
  for (const [element, style] of styles) {
    seen.set(style, (seen.get(style) ?? 0) + 1);
    if (seen.get(style) <= most) keep(element);
  }
  for (const element of document.querySelectorAll(`${inside} *`)) if (!kept.has(element)) element.remove();
}

/** Leave the insides of code, formulas and drawings out, except in one part. They are the same at every width, and nine tenths of a page. */
function empty(except) {
  const outside = (e) => !except || !e.closest(except);
  const flat = [...document.querySelectorAll("pre, .katex")].filter(outside);
  for (const text of flat) text.textContent = globalThis.texts?.get(text) ?? text.textContent;
  for (const inside of document.querySelectorAll(".frame svg > *")) if (outside(inside)) inside.remove();
}

/** Note what a page consists of and what of it is shown, and say whether it is what was noted before. Two themes that
 *  agree in it differ in colours alone, and in the sun and moon on the button that changes them. */
function agrees() {
  const all = document.querySelectorAll("body *:not(.theme-toggle svg, .theme-toggle svg *)");
  const outline = document.body.outerHTML + [...all].map((e) => Number(e.checkVisibility())).join("");
  const before = globalThis.outline ?? outline;
  globalThis.outline = outline;
  return outline === before;
}

/** What is clipped on paper, and what of the furniture is printed. */
function printed() {
  return {
    overflow: document.documentElement.scrollWidth - innerWidth,
    furniture: [...document.querySelectorAll(".bar, .drawer, .slider, .turn, .story")].filter((e) => e.checkVisibility()).length,
    clipped: [...document.querySelectorAll("article pre, .formula, .table-wrapper, .frame")]
      .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible")
      .map((e) => e.textContent.trim().slice(0, 80)),
  };
}

async function readPage(name) {
  const notes = report[name];
  const page = await open(name, { whole: true });
  const at = async (width, theme, media = "screen") => {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: theme, media });
    await settled(page);
    return `${theme} ${width}`;
  };
  notes.same = true;
  // Each step changes the width or the theme, not both: a page is laid out anew at each.
  for (const width of WIDTHS) {
    for (const [k, theme] of (width === 768 ? THEMES.toReversed() : THEMES).entries()) {
      const where = await at(width, theme);
      notes.looks[where] = await page.evaluate(look);
      if (k === 0) await page.evaluate(() => delete globalThis.outline);
      notes.same = (await page.evaluate(agrees)) && notes.same;
      if (width > 1000) {
        await page.evaluate(noteColours);
        if (theme === "light") notes.axe[where] = await accessible(page, "html", "rest");
      }
    }
  }
  await at(690, "light", "print");
  notes.print = await page.evaluate(printed);
  // From here on nothing reads the whole page any more: colours and places are read on some texts of each style,
  // and other widths without the insides, which have been read at the widest.
  await page.evaluate(thin, ALIKE);
  for (const theme of THEMES) {
    const where = await at(1280, theme);
    notes.axe[where] = [...(notes.axe[where] ?? []), ...(await accessible(page, "html", theme === "light" ? "places" : "colours"))];
  }
  await page.evaluate(empty);
  for (const width of chapters.has(name) ? [768, 390] : [390]) {
    for (const theme of width === 768 ? THEMES.toReversed() : THEMES) {
      notes.axe[await at(width, theme)] = await accessible(page, "html", theme === "dark" ? "colours" : "all");
    }
  }
  await close(page);
  if (!chapters.has(name)) await close(await open(name, { base: folder })); // for chapters the keyboard does
  const still = await open(name, { scripts: false, width: 390, whole: true });
  notes.still = await still.evaluate(() => ({
    words: document.querySelector("article").innerText.split(/\s+/).length,
    formulas: [...document.querySelectorAll(".katex")].filter((e) => e.getClientRects().length).length,
    figures: [...document.querySelectorAll(".art")].map(
      (art) => [...art.querySelectorAll(":scope > .frame")].filter((e) => e.checkVisibility()).length,
    ),
    sliders: [...document.querySelectorAll(".slider")].filter((e) => e.checkVisibility()).length,
    overflow: document.documentElement.scrollWidth - innerWidth,
  }));
  await close(still);
}

/** Open each mark of a page, see where its story is, and close it. Runs in the browser. */
async function openMarks() {
  const states = [];
  for (const summary of document.querySelectorAll("details.mark > summary")) {
    const mark = summary.parentElement;
    const next = mark.closest(".math-wrapper").nextElementSibling ?? mark.closest(".math-wrapper").parentElement;
    const after = () => Math.round(next.getBoundingClientRect().top + scrollY);
    summary.focus();
    const before = after();
    const told = new Promise((done) => mark.addEventListener("toggle", done, { once: true })); // after the book's own
    summary.click();
    await told;
    const story = mark.querySelector(".story");
    const { left, right, top, bottom } = story.getBoundingClientRect();
    const seen = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    states.push({
      open: mark.open,
      fits: left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight,
      covered: !mark.contains(seen),
      moved: after() !== before,
      words: story.innerText,
    });
    summary.click();
  }
  return states;
}

/** What the keyboard reaches and does on a chapter that is read from a folder. */
async function readChapter(name) {
  const found = (report[name].keys = { marks: {}, sliders: [] });
  const page = await open(name, { base: folder });
  const wanted = "summary, input[type=range], a.number, article a[href], .sidebar-search, .theme-toggle";
  found.unreached = await page.evaluate((selector) => {
    const all = [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility());
    globalThis.waiting = new Set(all);
    addEventListener("focusin", (event) => waiting.delete(event.target));
    globalThis.total = document.querySelectorAll("a, button, input, summary, [tabindex]").length;
    return all.length;
  }, wanted);
  const steps = 2 * (await page.evaluate(() => total)) + 100; // pictures that come near bring controls of their own
  for (let k = 0; k < steps && (await page.evaluate(() => waiting.size)); k += 50) {
    await Promise.all(Array.from({ length: 50 }, () => page.keyboard.press("Tab"))); // sent at once, done in order
  }
  found.unreached = await page.evaluate(() => [...waiting].map((e) => e.outerHTML.slice(0, 120)));

  const sliders = await page.locator(".slider input").all();
  for (const slider of sliders) {
    const state = () =>
      slider.evaluate((input) => ({
        label: input.labels[0]?.innerText ?? "",
        text: input.getAttribute("aria-valuetext"),
        shown: [...input.closest(".art").querySelectorAll(":scope > .frame")].map((e) => e.checkVisibility()).indexOf(true),
      }));
    await slider.focus();
    await page.keyboard.press("Home");
    const first = await state();
    await page.keyboard.press("ArrowRight");
    const second = await state();
    await page.keyboard.press("End");
    const last = await state();
    found.sliders.push({ first, second, last, frames: await slider.evaluate((i) => Number(i.max) + 1) });
  }

  await page.evaluate(wholly, WHOLE);
  for (const width of [1280, 390]) {
    await page.setViewportSize({ width, height: 900 });
    await settled(page);
    found.marks[width] = await page.evaluate(openMarks);
    for (const [k, summary] of (await page.locator("details.mark > summary").all()).slice(0, KEYED).entries()) {
      const state = found.marks[width][k];
      await summary.focus();
      await page.keyboard.press("Enter");
      await settled(page);
      state.opened = await summary.evaluate((s) => s.parentElement.open);
      await page.keyboard.press("Tab");
      state.entered = await page.evaluate(() => !!document.activeElement.closest(".story"));
      await page.keyboard.press("Escape");
      state.closed = await summary.evaluate((s) => !s.parentElement.open && document.activeElement === s);
      if (k > 0) continue;
      await page.mouse.move(1, 1);
      await summary.hover();
      await page.waitForTimeout(400);
      state.hovered = await summary.evaluate((s) => s.parentElement.open);
      await page.mouse.move(1, 1);
      await page.waitForTimeout(400);
      await summary.hover();
      await page.keyboard.press("Escape"); // before the pointer has rested long enough
      await page.waitForTimeout(400);
      state.dismissed = await summary.evaluate((s) => !s.parentElement.open);
      await page.mouse.move(1, 1); // a pointer left here would open what scrolls under it
    }
  }
  for (const summary of (await page.locator("details.mark > summary").all()).slice(0, 1)) {
    await summary.focus();
    await page.keyboard.press("Enter");
    await page.evaluate(empty, ".mark[open]"); // nothing reads the page after this
    found.marks[390][0].axe = await accessible(page, ".mark[open]");
  }
  await close(page);
}

/** Searching, drawers and the change of colours: the same on every page, so tried on one. */
async function readFurniture(name) {
  const found = (report.furniture = { search: {}, drawers: {}, themes: [] });
  for (const [kind, base] of Object.entries({ http: origin, file: folder })) {
    const page = await open("search.html", { base, query: "?q=gradient" });
    await page.waitForFunction(() => document.querySelector("#search-results ul.search li"), null, { timeout: 15000 }).catch(() => {});
    await page.waitForTimeout(500);
    found.search[kind] = {
      results: await page.locator("#search-results li a").count(),
      excerpts: await page.locator("#search-results li .context").count(),
      axe: await accessible(page),
    };
    await close(page);
  }
  found.search.asked = {};
  for (const query of QUERIES) {
    const page = await open("search.html", { query: `?q=${encodeURIComponent(query)}` });
    await page.waitForFunction(() => !document.querySelector("#search-results h2 span") || document.querySelector("#search-results[hidden]"), null, { timeout: 15000 }).catch(() => {});
    await page.waitForTimeout(500);
    const texts = (selector) => page.locator(selector).allInnerTexts();
    found.search.asked[query] = {
      pages: await page.locator("#search-results li > a").evaluateAll((links) => links.map((a) => a.getAttribute("href"))),
      excerpts: await texts("#search-results li .context"),
      equations: await texts("#equations-found li"),
      meant: await texts(".meant"),
    };
    await close(page);
  }
  const typed = await open(name, { width: 1280 });
  await typed.locator(".sidebar-search").focus();
  await typed.keyboard.type("gradient");
  await Promise.all([typed.waitForURL(/search\.html\?q=gradient/), typed.keyboard.press("Enter")]);
  found.search.typed = true;
  await close(typed);

  for (const [id, label] of [["book-navigation", "chapters"], ["page-navigation", "contents"]]) {
    const page = await open(name, { width: 390 });
    await page.locator(`.bar [popovertarget=${id}]`).focus();
    const drawer = page.locator(`#${id}`);
    const before = await drawer.isVisible();
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    found.drawers[label] = {
      before,
      opened: await drawer.isVisible(),
      entered: await drawer.evaluate((d) => d.contains(document.activeElement)),
    };
    await page.evaluate(empty, `#${id}`);
    found.drawers[label].axe = await accessible(page, `#${id}`);
    await page.keyboard.press("Escape");
    found.drawers[label].closed = !(await drawer.isVisible());
    await close(page);
  }

  const coloured = await open(name, { width: 1280 });
  const button = coloured.locator(".book-navigation .theme-toggle");
  await button.focus();
  for (let k = 0; k < 3; k += 1) {
    found.themes.push(
      await coloured.evaluate(() => `${document.body.dataset.theme} ${getComputedStyle(document.body).backgroundColor}`),
    );
    await coloured.keyboard.press("Enter");
  }
  await close(coloured);
}

// Long pages first, so that no worker is left alone with one at the end.
const weight = (name) => readFileSync(join(site, name)).length;
const work = [
  ...[...chapters].map((name) => ({ cost: 2 * weight(name), run: () => readChapter(name), name })),
  ...pages.map((name) => ({ cost: 3 * weight(name), run: () => readPage(name), name })),
].sort((a, b) => a.cost - b.cost);
work.push({ run: () => readFurniture([...chapters][0] ?? pages[0]), name: "furniture" });

async function worker() {
  for (let task = work.pop(); task; task = work.pop()) {
    try {
      await task.run();
    } catch (error) {
      (report[task.name] ??= {}).failed = String(error.stack ?? error);
    }
  }
}

try {
  await Promise.all(Array.from({ length: Math.min(4, Math.max(2, availableParallelism())) }, worker));
  writeFileSync(out, JSON.stringify(report));
} finally {
  await browser.close();
  server.close();
}
