// Print pages to PDF with Chromium, one after another as they are asked for.
// node pdf.mjs: each line that comes in names {source, file}; each line that goes out lists what is larger than the paper.
//
// A formula, a table or code that is too wide is made smaller first. The window is as wide as the text on
// paper, so that what fits in it fits there.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const TEXT = { width: 595, height: 925 }; // on paper, in CSS pixels: A4 without its margins
const LEAST = 0.7; // code that would be smaller is broken instead

/** Make smaller what is too wide. All is read before anything is written: each change is a new layout. */
function fit(least) {
  const boxes = [...document.querySelectorAll(".formula, .highlight, .table-wrapper")];
  const share = (box) => {
    if (!box.matches(".formula")) return box.clientWidth / box.scrollWidth;
    const { left, width } = box.getBoundingClientRect(); // a formula ends where its last base does
    const ends = [...box.querySelectorAll(".katex-base")].map((base) => base.getBoundingClientRect().right);
    return ends.length ? width / (Math.max(...ends) - left - 1) : 1;
  };
  for (let round = 0; round < 3; round += 1) {
    const shares = boxes.map(share);
    boxes.forEach((box, k) => {
      if (shares[k] >= 1) return;
      const zoom = (Number(box.style.zoom) || 1) * shares[k] * 0.995;
      if (box.matches(".highlight") && zoom < least) box.classList.add("wrapped");
      else box.style.zoom = zoom;
    });
  }
}

/** Say what does not fit all the same: what is too wide, and what may not be broken and is too high. */
function beyond(text) {
  const found = [];
  const wide = document.documentElement.scrollWidth; // if larger, Chromium would make all of the piece smaller
  if (wide > text.width) found.push(`all: ${wide} pixels wide instead of ${text.width}`);
  const outside = "body *:not(.katex *, .katex-display)"; // the struts in formulas are invisible
  for (const element of document.querySelectorAll(`${outside}, .katex-base`)) {
    const { left, right, height } = element.getBoundingClientRect();
    const whole = getComputedStyle(element).breakInside === "avoid" || element.matches("img");
    if (right > text.width + 1 || left < -1 || (whole && height > text.height)) {
      found.push(`${element.closest("[id]")?.id}: ${element.textContent.trim().slice(0, 60)}`);
    }
  }
  return found;
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const { source, file } = JSON.parse(line);
    const page = await browser.newPage({ viewport: TEXT });
    await page.emulateMedia({ media: "print" });
    await page.goto(pathToFileURL(source).href, { timeout: 0 });
    await page.evaluate(() => document.fonts.ready.then(() => null));
    await page.evaluate(fit, LEAST);
    const found = await page.evaluate(beyond, TEXT);
    await page.pdf({ path: file, preferCSSPageSize: true, printBackground: true, tagged: true });
    await page.close();
    console.log(JSON.stringify(found));
  }
} finally {
  await browser.close();
}
