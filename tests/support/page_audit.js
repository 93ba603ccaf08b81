// What is wrong with a page as it is shown now, by name; an empty list where nothing is. The value of this expression is
// read by tests/support/browser.py.
(() => {
  const shown = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
  const name = (element) => {
    const own = (element.textContent || "").trim().replace(/\s+/g, " ").slice(0, 60);
    return `${element.tagName.toLowerCase()}${element.className.baseVal ?? element.className ? "." + (element.className.baseVal ?? element.className) : ""} "${own}"`;
  };
  const parse = (colour) => {
    const numbers = colour.match(/[\d.]+/g);
    if (!numbers) return [0, 0, 0, 0];
    const [r, g, b, a = 1] = numbers.map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], [R, G, B, A]) => {
    const alpha = a + A * (1 - a);
    const mix = (x, X) => (alpha ? (x * a + X * A * (1 - a)) / alpha : 0);
    return [mix(r, R), mix(g, G), mix(b, B), alpha];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    let colour = [0, 0, 0, 0];
    for (let at = element; at; at = at.parentElement) {
      colour = over(colour, parse(getComputedStyle(at).backgroundColor));
      if (colour[3] >= 0.999) return colour;
    }
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    return over(colour, dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  };

  // Every run of text with the box that it takes, cut off where something around it cuts it off.
  const clipped = (box, element) => {
    let { left, right, top, bottom } = box;
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.overflowX === "visible" || style.overflowX === "") continue;
      const edge = at.getBoundingClientRect();
      [left, right] = [Math.max(left, edge.left), Math.min(right, edge.right)];
      [top, bottom] = [Math.max(top, edge.top), Math.min(bottom, edge.bottom)];
    }
    return { left, right, top, bottom };
  };
  const texts = [], broken = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.textContent.trim() || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION", "TITLE"].includes(parent.tagName) || !shown(parent)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const words = node.textContent.trim().split(/[\s-]+/).length, boxes = Array.from(range.getClientRects());
    const lines = new Set(boxes.map(({ top }) => Math.round(top))).size;
    if (lines > words + 2) broken.push(`${name(parent)}: ${words} words in ${lines} lines`);
    for (const box of boxes) {
      const seen = clipped(box, parent);
      if (seen.right - seen.left > 1 && seen.bottom - seen.top > 1) texts.push({ parent, ...seen });
    }
  }

  const faint = new Set(), seen = new Set();
  texts.forEach(({ parent }) => {
    if (seen.has(parent) || parent.closest(":disabled")) return;
    seen.add(parent);
    const style = getComputedStyle(parent);
    const paper = behind(parent);
    const ink = over(parse(parent instanceof SVGElement ? style.fill : style.color), paper);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const found = contrast(ink, paper);
    if (found < (large ? 3 : 4.5)) faint.add(`${name(parent)}: ${found.toFixed(2)}`);
  });

  // Letters may touch; boxes that share more than a fifth of the smaller one cannot both be read. A column of a table
  // that stays in place while the others pass under it is meant to cover them.
  const overlapping = [];
  const sticky = (element) => Array.from({ length: 3 }).reduce((at) => at && (getComputedStyle(at).position === "sticky" ? "yes" : at === "yes" ? at : at.parentElement), element) === "yes";
  texts.sort((a, b) => a.top - b.top);
  texts.forEach((one, place) => {
    for (let next = place + 1; next < texts.length && texts[next].top < one.bottom; next += 1) {
      const other = texts[next];
      if (one.parent === other.parent) continue;
      const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (wide <= 1 || high <= 1) continue;
      const area = (box) => (box.right - box.left) * (box.bottom - box.top);
      if (wide * high > 0.2 * Math.min(area(one), area(other)) && !sticky(one.parent) && !sticky(other.parent)) {
        overlapping.push(`${name(one.parent)} and ${name(other.parent)}`);
      }
    }
  });

  const width = document.documentElement.clientWidth;
  const scrolling = document.documentElement.scrollWidth > width + 1
    ? texts.filter(({ right }) => right > width + 1).map(({ parent }) => name(parent)).concat("the page").slice(0, 5) : [];

  const labelled = (element) =>
    element.getAttribute("aria-label") || element.getAttribute("alt") || element.title || element.textContent.trim() ||
    (element.labels && element.labels.length) || element.getAttribute("aria-labelledby");
  const all = (selector) => Array.from(document.querySelectorAll(selector)).filter(shown);
  const nameless = all('img, [role="img"], button, a[href], select, input, textarea, [role="region"], [role="group"]')
    .filter((element) => !labelled(element) && !element.closest('[aria-hidden="true"]')).map(name);
  const unreachable = all("*").filter((element) => {
    const { overflowX } = getComputedStyle(element);
    return ["auto", "scroll"].includes(overflowX) && element.scrollWidth > element.clientWidth + 1
      && element.tabIndex < 0 && !element.querySelector("a, button, select, [tabindex]");
  }).map(name);
  const ids = Array.from(document.querySelectorAll("[id]"), (element) => element.id);
  const levels = all("h1, h2, h3, h4, h5, h6").map((heading) => Number(heading.tagName[1]));
  const structure = [
    [!document.documentElement.lang, "no language"],
    [!document.title.trim(), "no title"],
    [!document.querySelector('meta[name="viewport"][content*="width=device-width"]'), "no viewport"],
    [!document.querySelector("main"), "no main"],
    [levels.filter((level) => level === 1).length !== 1, "not one h1"],
    [levels.some((level, place) => place && level > levels[place - 1] + 1), "a level of headings is left out"],
    [new Set(ids).size !== ids.length, `an id is there twice: ${ids.find((id, place) => ids.indexOf(id) !== place)}`],
    [all('a[href^="#"]').some((link) => link.hash.length > 1 && !document.getElementById(decodeURIComponent(link.hash.slice(1)))), "a link leads nowhere"],
  ].filter(([wrong]) => wrong).map(([, text]) => text);
  return { scrolling, overlapping, broken, faint: Array.from(faint), nameless, unreachable, structure };
})()
