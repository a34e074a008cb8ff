// Draw every interactive of some pages in Chromium, move its controls, and write down what it asked of the kernels.
// node interactive.mjs SITE PAGE,PAGE,... OUT
//
// Nothing is judged here: test_interactives.py says what is right.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [site, pages, out] = process.argv.slice(2);
const folder = pathToFileURL(`${site}/`).href;
const report = {};
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});

/** What a figure shows, and what it asked for, learned arrays by their names. Runs in the browser. */
function seen(figure) {
  const { stage } = figure, known = Object.entries(stage.learned).filter(([, value]) => value.data);
  const plain = (value) => {
    if (Array.isArray(value)) return value.map(plain);
    if (!value?.data) return value;
    const found = known.find(([, { data }]) => data.buffer === value.data.buffer), { shape } = value;
    if (found) return { learned: found[0], start: value.data.byteOffset / value.data.BYTES_PER_ELEMENT, shape };
    return { data: Array.from(value.data, Number), shape };
  };
  const some = stage.calls.filter((_, n, { length }) => n < 40 || n >= length - 40); // of a long computation both ends
  const calls = some.map(({ name, given, result }) => ({ name, given: given.map(plain), result }));
  return {
    words: stage.words.textContent, values: { ...stage.values }, calls, numbers: stage.numbers,
    titles: stage.charts.map((chart) => chart.title.textContent),
    wild: figure.querySelectorAll("svg [x*=NaN], svg [y*=NaN], svg [cx*=NaN], svg [points*=NaN], svg [width^='-']").length,
    drawn: stage.charts.map((chart) => chart.inside.childElementCount),
    overflow: document.documentElement.scrollWidth - innerWidth,
  };
}

for (const page of pages.split(",")) {
  const notes = (report[page] = { noise: [], outside: [], figures: {}, heights: {}, axe: {} });
  for (const [width, colorScheme] of [[1280, "light"], [390, "dark"]]) {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, reducedMotion: "reduce" });
    const tab = await context.newPage();
    tab.setDefaultTimeout(120_000);
    for (const event of ["console", "pageerror"]) tab.on(event, (message) => notes.noise.push(message.text?.() ?? message.message));
    tab.on("request", (request) => {
      if (!request.url().startsWith(folder) && !/^(data|blob):/.test(request.url())) notes.outside.push(request.url());
    });
    await tab.goto(folder + page);
    for (const figure of await tab.locator("figure.interactive").all()) {
      const name = await figure.getAttribute("data-name");
      await figure.evaluate((it) => it.scrollIntoView({ block: "center" })); // what was far away gets its height now
      if (await figure.getAttribute("data-weight")) {
        const asks = figure.getByRole("button", { name: /^Load/ });
        await asks.or(figure.locator(".controls")).first().waitFor(); // another picture may have loaded the same
        if (await asks.count()) await asks.click();
      }
      await tab.waitForFunction((wanted) => document.querySelector(`figure.interactive[data-name="${wanted}"]`).stage, name);
      if (!(await figure.getAttribute("data-weight")))
        (notes.heights[name] ??= {})[width] = await figure.locator(".stage").evaluate((stage) => {
          const kept = parseFloat(getComputedStyle(stage).minHeight);
          stage.style.minHeight = 0;
          const needed = stage.getBoundingClientRect().height;
          stage.style.minHeight = "";
          return [kept, needed];
        });
      const states = [await figure.evaluate(seen)];
      if (width > 1000) {
        // each control at both ends, by key; every choice; every button
        for (const slider of await figure.locator("input[type=range]").all()) {
          const value = await slider.inputValue();
          for (const key of ["Home", "End"]) {
            await slider.press(key);
            states.push(await figure.evaluate(seen));
          }
          await slider.fill(value);
        }
        for (const choice of await figure.locator("select").all())
          for (const option of await choice.locator("option").all()) {
            await choice.selectOption(await option.innerText());
            states.push(await figure.evaluate(seen));
          }
        for (const control of await figure.locator("button, input[type=checkbox]").all()) {
          await control.press("Space");
          states.push(await figure.evaluate(seen));
        }
        notes.figures[name] = states;
      }
      notes.noise.push(...states.filter((state) => state.overflow > 0).map(() => `${name} is wider than ${width}`));
    }
    await tab.evaluate(axe);
    notes.axe[`${colorScheme} ${width}`] = await tab.evaluate(async () => {
      const { violations } = await globalThis.axe.run("figure.interactive", { preload: false });
      return violations.flatMap(({ id, nodes }) => nodes.map((n) => `${id}: ${n.target.join(" ")}`));
    });
    await context.close();
  }
}
await browser.close();
writeFileSync(out, JSON.stringify(report));
