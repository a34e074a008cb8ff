// Open pages in Chromium as a reader does and note where things are, as JSON.
// node places.mjs SITE CHAPTER PAGE,PAGE,... OUT
//
// Nothing is judged here: test_places.py says what is right.

import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const [site, chapter, pages, out] = process.argv.slice(2);
const folder = pathToFileURL(`${site}/`).href;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
const report = { shifts: {}, waiting: {}, fragments: {}, upwards: {}, stories: {} };

async function open(name, width, scripts = true) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, javaScriptEnabled: scripts });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  await page.addInitScript(() => {
    globalThis.shifts = [];
    new PerformanceObserver((list) => shifts.push(...list.getEntries())).observe({ type: "layout-shift", buffered: true });
  });
  await page.goto(folder + name);
  return page;
}

const close = (page) => page.context().close();
const quiet = (page) =>
  page.evaluate(async () => {
    await document.fonts.ready;
    const filling = () => document.querySelector(".answers[data-open]") && !document.querySelector(".live-close");
    while (filling()) await new Promise((done) => setTimeout(done, 20));
    await new Promise((done) => setTimeout(done, 300));
  });

/** How far a target is from where its page scrolls to. Runs in the browser. */
const off = (id) => {
  const target = document.getElementById(id);
  const { scrollPaddingTop } = getComputedStyle(document.documentElement), { scrollMarginTop } = getComputedStyle(target);
  return Math.round(target.getBoundingClientRect().top - parseFloat(scrollPaddingTop) - parseFloat(scrollMarginTop));
};

/** Go up by small steps; note by how much what is on the screen moves otherwise. Runs in the browser. */
async function goUp() {
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  let most = 0;
  for (let k = 0; k < 60; k += 1) {
    const seen = document.elementFromPoint(innerWidth / 2, innerHeight / 2), before = seen.getBoundingClientRect().top;
    scrollBy(0, -400);
    await frame();
    most = Math.max(most, Math.abs(seen.getBoundingClientRect().top - before - 400));
  }
  return Math.round(most);
}

/** Open the last mark of each section, brought to the end of it; note whether its story hangs out and is seen whole.
 *  Runs in the browser. */
async function lastStories() {
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const found = [];
  for (const section of document.querySelectorAll("article > section > section")) {
    const mark = [...section.querySelectorAll("details.mark")].at(-1);
    if (!mark) continue;
    section.append(mark.closest(".math-wrapper"));
    mark.querySelector("summary").scrollIntoView({ block: "center" });
    await frame();
    mark.open = true;
    await frame();
    const story = mark.querySelector(".story"), { left, right, bottom } = story.getBoundingClientRect();
    const seen = document.elementFromPoint((left + right) / 2, bottom - 4);
    found.push({ hangs: bottom > section.getBoundingClientRect().bottom, whole: story.contains(seen) });
    mark.open = false;
  }
  return found;
}

for (const width of [1280, 390]) {
  for (const name of pages.split(",")) {
    const page = await open(name, width);
    await quiet(page);
    report.shifts[`${name} ${width}`] = await page.evaluate(() => shifts.reduce((sum, { value }) => sum + value, 0));
    await close(page);
  }
  const first = await open(chapter, width);
  await quiet(first);
  report.waiting[width] = await first.evaluate(() => {
    const sections = [...document.querySelectorAll("article > section > section")];
    const far = (section) => !section.firstElementChild.checkVisibility({ contentVisibilityAuto: true });
    return [sections.filter(far).length, sections.length];
  });
  const targets = await first.evaluate(() => {
    const last = (selector) => [...document.querySelectorAll(selector)].at(-2).id;
    return [last("article > section > section[id]"), last("article .math[id], article [id^=equation-]")];
  });
  for (const target of targets) {
    await first.evaluate(() => scrollTo(0, 0));
    await first.evaluate((id) => (location.hash = id), target);
    await quiet(first);
    const found = (report.fragments[`${target} ${width}`] = { followed: await first.evaluate(off, target) });
    await first.reload();
    await quiet(first);
    found.reloaded = await first.evaluate(off, target);
    for (const scripts of [true, false]) {
      const page = await open(`${chapter}#${target}`, width, scripts);
      await page.waitForTimeout(500);
      found[scripts ? "loaded" : "still"] = await page.evaluate(off, target);
      if (scripts && target === targets[0]) report.upwards[width] = await page.evaluate(goUp);
      await close(page);
    }
  }
  report.stories[width] = await first.evaluate(lastStories);
  await close(first);
}
writeFileSync(out, JSON.stringify(report, null, 1));
await browser.close();
