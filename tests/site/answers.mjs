// Open live equations in Chromium, edit them, and write down what was said, as JSON.
// node answers.mjs SITE EDITS OUT, where EDITS is a file: [{page, label, texts}], in order
//
// Nothing is judged here: test_answers.py says what is right.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [site, edits, out] = process.argv.slice(2);
const folder = pathToFileURL(`${site}/`).href;
const report = { outside: [], noise: [], edits: [], axe: {}, kernels: {} };
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});

async function open(name, { width = 1280, theme = "light", touch = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme, hasTouch: touch, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  page.on("request", (request) => {
    if (!request.url().startsWith(folder) && !/^(data|blob):/.test(request.url())) report.outside.push(request.url());
  });
  for (const event of ["console", "pageerror"]) page.on(event, (message) => report.noise.push(message.text?.() ?? message.message));
  await page.goto(folder + name);
  return page;
}

const button = (page, label) => page.locator(`.answers[data-label="${label}"]`);
const panel = (page, label) => page.locator(`.math-wrapper:has([data-label="${label}"]) + .live`);
const verdict = (box) => box.locator(".live-verdict").innerText();

async function opened(page, label, tap = "click") {
  await page.locator(`details.mark:has([data-label="${label}"]) > summary`)[tap]();
  await button(page, label)[tap]();
  await panel(page, label).locator("textarea, input, .live-close").first().waitFor();
  return panel(page, label);
}

/* What readers type, in the order of pages */
let page, name;
for (const { page: wanted, label, texts } of JSON.parse(readFileSync(edits, "utf8"))) {
  if (wanted !== name) {
    await page?.context().close();
    page = await open((name = wanted));
  }
  const box = await opened(page, label), said = [await verdict(box)];
  for (const text of texts) {
    await box.locator(".live-line textarea").fill(text);
    said.push(await verdict(box));
  }
  report.edits.push({ label, said });
  await box.locator(".live-close").click();
}

/* What all kernels of these pages give here */
for (const one of new Set(JSON.parse(readFileSync(edits, "utf8")).map((edit) => edit.page))) {
  await page.context().close();
  page = await open(one);
  await opened(page, await page.locator(".answers").first().getAttribute("data-label"));
  report.kernels[one] = await page.evaluate(async () => {
    const page = await liveEquations.open(dlbook.live), { equations, table } = dlbook.live;
    const able = Object.entries(equations).filter(([, equation]) => equation.cases);
    return able.map(([label, { kernel }]) => ({
      kernel, maths: table[kernel].maths, cases: page.cases(label).map(({ args, result }) => ({ args, result })),
    }));
  });
}
await page.context().close();

/* By key alone: to the mark, to its button, into the panel, and back */
page = await open("backprop.html");
const summary = page.locator('details.mark:has([data-label="backprop-bp2"]) > summary');
await summary.focus();
await page.keyboard.press("Enter");
for (let n = 0; n < 6 && !(await button(page, "backprop-bp2").evaluate((e) => e === document.activeElement)); n++) await page.keyboard.press("Tab");
await page.keyboard.press("Enter");
let box = panel(page, "backprop-bp2");
await box.locator(".live-verdict.passed").waitFor();
const focused = (locator) => locator.evaluate((e) => e === document.activeElement);
report.keys = { entered: await focused(box.locator(".live-line textarea")) };
await page.keyboard.type(" * 2");
report.keys.typed = await verdict(box);
report.keys.yours = await box.locator(".live-results mark").count();
await page.keyboard.press("Escape");
report.keys.closed = (await box.count()) === 0 && (await focused(summary));

/* Numbers of the reader's: other ones, none, and back */
box = await opened(page, "backprop-bp2");
await box.locator("summary").click();
const delta = box.locator(".live-input textarea").nth(1), result = () => box.locator(".live-results pre").first().innerText();
report.numbers = [await result()];
await delta.fill((await delta.inputValue()).replace(/[^\s]+/g, "0"));
report.numbers.push(await result(), await verdict(box));
await delta.fill("one");
report.numbers.push(await box.locator(".live-wrong").innerText());
await delta.fill("1 2 3 4 5 6 7 8 9");
report.numbers.push(await box.locator(".live-wrong").innerText());
await box.getByRole("button", { name: "back to the case" }).click();
report.numbers.push(await result());

/* Forms one click away; by touch too, and what axe finds in open panels */
for (const [width, theme] of [[1280, "light"], [390, "dark"]]) {
  await page.context().close();
  page = await open("backprop.html", { width, theme, touch: width === 390 });
  box = await opened(page, "backprop-bp2", width === 390 ? "tap" : "click");
  const forms = box.locator(".live-forms button");
  report.forms = [];
  for (const form of await forms.all()) {
    await form[width === 390 ? "tap" : "click"]();
    report.forms.push([await form.innerText(), await verdict(box)]);
  }
  await box.locator("summary").click();
  await page.evaluate(axe);
  report.axe[`${theme} ${width}`] = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(".live", { preload: false });
    return violations.flatMap(({ id, nodes }) => nodes.map((n) => `${id}: ${n.target.join(" ")}`));
  });
  report.axe[`${theme} ${width} overflow`] = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
}
await browser.close();
writeFileSync(out, JSON.stringify(report));
