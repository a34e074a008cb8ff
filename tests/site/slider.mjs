// Open a figure of a notebook in Chromium, move its slider, and print what is seen, as JSON.
// node slider.mjs PAGE yes|no (whether scripts run)

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const [page, scripts] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
const context = await browser.newContext({ javaScriptEnabled: scripts === "yes" });
const tab = await context.newPage();
await tab.goto(pathToFileURL(page).href);

async function seen() {
  const visible = [];
  for (const picture of await tab.locator("img:not([alt=''])").all()) {
    if (await picture.isVisible()) visible.push(await picture.getAttribute("alt"));
  }
  const text = await tab.locator("figure").innerText();
  return { visible, text, slider: await tab.locator("input").isVisible() };
}

const before = await seen();
if (before.slider) {
  await tab.locator("input").focus();
  await tab.keyboard.press("ArrowRight");
}
console.log(JSON.stringify([before, await seen()]));
await browser.close();
