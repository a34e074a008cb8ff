/* What a page does beyond HTML: sliders, marks that open under the pointer, boxes that scroll.
   Without this file every page still shows its text, its mathematics and the first frames. */

(() => {
  /* Sections that are far from the screen have heights that were guessed. A page that is come back to has those with
     which it was left, and what was at its top is brought there again; where nothing may be kept, guesses do. */
  const sections = [...document.querySelectorAll("article > section > section:not(.live)")];
  const name = `place on ${location.pathname}`;
  const top = (element) => element.getBoundingClientRect().top;
  const kept = (value) => {
    try {
      return value ? sessionStorage.setItem(name, value) : sessionStorage.getItem(name);
    } catch {
      return null;
    }
  };
  const reading = () => {
    const path = [];
    for (let among = sections; among; ) {
      const k = among.findIndex((element) => element.getBoundingClientRect().bottom > 0);
      if (k < 0) break;
      path.push([k, top(among[k])]);
      among = among[k].tagName === "SECTION" && [...among[k].children];
    }
    return path;
  };
  const { heights = [], path = [] } = JSON.parse(kept() ?? "{}");
  if (heights.length === sections.length && performance.getEntriesByType("navigation")[0]?.type !== "navigate") {
    sections.forEach((section, k) => (section.style.containIntrinsicBlockSize = `auto ${heights[k]}px`));
    addEventListener("load", async () => {
      await document.fonts.ready;
      let element, among = sections;
      for (const [k] of path) {
        element = among?.[k];
        among = element?.children;
      }
      if (element) scrollBy(0, top(element) - path.at(-1)[1]);
    });
  }
  addEventListener("pagehide", () => {
    kept(JSON.stringify({ heights: sections.map((section) => section.offsetHeight), path: reading() }));
  });

  /* A slider shows one frame of a figure. */
  for (const slider of document.querySelectorAll(".slider")) {
    const frames = slider.parentElement.querySelectorAll(":scope > .frame");
    const input = slider.querySelector("input");
    const value = slider.querySelector(".value");
    const labels = JSON.parse(input.dataset.labels);
    const show = () => {
      const chosen = Number(input.value);
      frames.forEach((frame, k) => (frame.hidden = k !== chosen));
      value.textContent = labels[chosen];
      input.setAttribute("aria-valuetext", labels[chosen]);
    };
    input.addEventListener("input", show);
    slider.hidden = false;
    show(); // a browser may have kept the position from before
  }

  /* The story of a mark opens by click or key, and under a resting pointer. */
  for (const mark of document.querySelectorAll("details.mark")) {
    let timer, hovered;
    const later = (wait, action) => {
      clearTimeout(timer);
      timer = setTimeout(action, wait);
    };
    mark.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "mouse") return;
      later(150, () => {
        hovered ||= !mark.open;
        mark.open = true;
      });
    });
    mark.addEventListener("pointerleave", () => {
      later(250, () => {
        if (hovered) mark.open = hovered = false;
      });
    });
    mark.querySelector("summary").addEventListener("click", (event) => {
      clearTimeout(timer);
      if (hovered && mark.open) event.preventDefault(); // the click keeps open what the pointer opened
      hovered = false;
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") clearTimeout(timer); // what was sent away does not come back by itself
    });
    mark.addEventListener("toggle", () => {
      if (mark.open && !hovered) mark.querySelector(".story").scrollIntoView({ block: "nearest" });
    });
  }

  /* What a mark says of altered kernels is listed when it is asked for; the list comes as a script,
     since a page that was opened from a folder may load nothing else. */
  const arrived = {}, opened = {}, here = document.currentScript.src;
  const load = (source) =>
    (arrived[source] ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = () => resolve({ ...window.dlbook });
      script.onerror = () => reject(new Error(`${source} did not load`));
      document.head.append(script);
    }));
  const element = (name, ...content) => {
    const made = document.createElement(name);
    made.append(...content);
    return made;
  };
  for (const altered of document.querySelectorAll("details.altered")) {
    altered.addEventListener("toggle", async () => {
      if (!altered.open || altered.querySelector("ol")) return;
      const list = element("ol");
      list.tabIndex = 0;
      list.setAttribute("aria-label", "Altered versions");
      altered.append(list);
      const rows = (await load(altered.dataset.script)).altered[altered.dataset.label];
      for (const [was, now, input, seen] of rows) {
        const why = input ? `${input}: ${seen}` : seen;
        list.append(element("li", element("code", was), " → ", element("code", now), element("p", why)));
      }
    });
  }

  /* An equation that answers does so in a panel below it, with scripts that come when the first is asked for. */
  const own = (name) => load(new URL(name, here).href);
  const answer = async (button, first) => {
    const mark = button.closest("details.mark"), block = button.closest(".math-wrapper") ?? button.closest("div.math");
    mark.open = false;
    if (block.nextElementSibling?.classList.contains("live")) return block.nextElementSibling.reopen?.();
    const panel = element("section");
    panel.className = "live";
    panel.setAttribute("aria-label", `Equation (${button.dataset.number}), live`);
    panel.append(element("p", "Loading the kernels …"));
    const put = () => {
      block.after(panel);
      block.classList.add("answered"); // the place that was kept for one that is open from the beginning
    };
    if (first === undefined) put();
    try {
      for (const name of ["formula.js", "kernels.js", "live.js", "panel.js"]) await own(name);
      const { live } = await load(button.dataset.script);
      opened[button.dataset.script] ??= liveEquations.open(live);
      const back = () => mark.querySelector("summary").focus(), page = await opened[button.dataset.script];
      put();
      return livePanel.fill(panel, page, button.dataset, back, first);
    } catch (error) {
      put();
      const close = element("button", "Close");
      close.addEventListener("click", () => panel.remove());
      return panel.replaceChildren(element("p", `The kernel cannot run here: ${error.message}`), close);
    }
  };
  for (const button of document.querySelectorAll(".story > .answers")) {
    button.hidden = false;
    button.addEventListener("click", () => answer(button));
    if (button.dataset.open) answer(button, button.dataset.open); // a page may show one from the beginning
  }

  /* Pictures that answer are drawn when they come near, one after the other; what weighs much comes when it is asked for.
     Their place has been kept, so nothing moves. */
  const draw = async (figure) => {
    const { page, learned, weight } = figure.dataset, stage = figure.querySelector(".stage");
    const source = learned && new URL(`../live/${learned}`, here).href;
    if (weight && !(source in arrived)) {
      const ask = element("button", `Load what was learned (${weight})`);
      stage.replaceChildren(ask);
      await new Promise((asked) => ask.addEventListener("click", asked));
      stage.replaceChildren(element("p", "Loading …"));
    }
    for (const name of ["kernels.js", "interactive.js", `interactive/${page}.js`]) await own(name);
    const { live } = await load(new URL(`../live/${page}.js`, here).href);
    const data = learned && (await load(source)).learned;
    await interactives.start(figure, live, data);
  };
  let drawing = Promise.resolve();
  const near = new IntersectionObserver((entries) => {
    for (const { target: figure } of entries.filter((entry) => entry.isIntersecting)) {
      near.unobserve(figure);
      const failed = (error) => figure.querySelector(".stage").replaceChildren(`It cannot be drawn here: ${error.message}`);
      const drawn = () => draw(figure).catch(failed).finally(() => figure.removeAttribute("aria-busy"));
      if (figure.dataset.weight) {
        drawn();
        continue;
      }
      figure.setAttribute("aria-busy", "true");
      drawing = drawing.then(drawn);
    }
  }, { rootMargin: "600px 0px" });
  addEventListener("load", () => document.querySelectorAll("figure.interactive").forEach((figure) => near.observe(figure)));

  const closeMarks = (except) => {
    for (const mark of document.querySelectorAll("details.mark[open]")) {
      if (mark !== except) mark.open = false;
    }
  };
  document.addEventListener("pointerdown", (event) => closeMarks(event.target.closest("details.mark")));
  document.addEventListener("focusin", (event) => closeMarks(event.target.closest("details.mark")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    document.activeElement.closest("details.mark")?.querySelector("summary").focus();
    closeMarks();
  });

  /* What is observed anew is measured anew: a section that comes near may bring new faces. */
  const measure = async (selector, observer) => {
    const again = () => {
      for (const element of document.querySelectorAll(selector)) {
        observer.unobserve(element);
        observer.observe(element);
      }
    };
    await document.fonts.ready;
    again();
    document.fonts.addEventListener("loadingdone", again);
  };

  /* A formula that has no room beside its number stands above it. */
  const placed = new ResizeObserver((entries) => {
    for (const { target: math } of entries) {
      const parts = [...math.querySelectorAll(".katex-base")].map((base) => base.getBoundingClientRect());
      const left = Math.min(...parts.map((part) => part.left));
      const right = Math.max(...parts.map((part) => part.right));
      const number = math.querySelector(".number").getBoundingClientRect().width;
      const mark = math.querySelector("summary")?.getBoundingClientRect().width ?? 0;
      const room = math.parentElement.clientWidth - Math.max(number, mark) - 20;
      math.classList.toggle("wide", right - left > room);
    }
  });
  measure("div.math:has(> .eqno)", placed);

  /* A box that scrolls sideways takes the focus, so that the keys reach all of it. */
  const names = { formula: "Formula", frame: "Figure", "table-wrapper": "Table" };
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const kind = Object.keys(names).find((name) => target.classList.contains(name));
      if (target.scrollWidth > target.clientWidth + 1) {
        target.tabIndex = 0;
        if (kind !== "frame") {
          target.setAttribute("role", "group");
          target.setAttribute("aria-label", `${names[kind] ?? "Code"}, scrolls sideways`);
        }
      } else if (target.tabIndex === 0) {
        target.removeAttribute("tabindex");
        if (kind !== "frame") {
          target.removeAttribute("role");
          target.removeAttribute("aria-label");
        }
      }
    }
  });
  measure("article :is(.formula, .frame, .table-wrapper, pre)", sized);

  /* A drawer has done its work when one of its links is followed. */
  for (const drawer of document.querySelectorAll(".drawer")) {
    drawer.addEventListener("click", (event) => {
      if (event.target.closest("a") && drawer.matches(":popover-open")) drawer.hidePopover();
    });
    drawer.addEventListener("keydown", (event) => {
      // a script of Sphinx keeps the key from the browser, which would have closed it
      if (event.key === "Escape" && drawer.matches(":popover-open")) drawer.hidePopover();
    });
  }

  /* From file:// a browser lets no script read other pages: the search goes without excerpts. */
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }
})();
