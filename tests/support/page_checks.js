// What the portal's tests check on a page inside the browser: the parts of WCAG 2.2 AA that a machine can see.
() => {
  const found = [];
  const say = (what, node) => found.push(what + ": " + node.outerHTML.slice(0, 120));
  const shown = (node) => {
    if (!node.checkVisibility({ visibilityProperty: true, opacityProperty: false })) return false;
    const box = node.getBoundingClientRect();
    return box.width > 1 && box.height > 1;
  };
  const all = (selector) => Array.from(document.querySelectorAll(selector));

  // structure
  if (!document.documentElement.lang) found.push("no language");
  if (!document.title.trim()) found.push("no title");
  if (all("main").length !== 1) found.push("not one main");
  if (all("h1").length !== 1) found.push("not one h1");
  let level = 0;
  for (const heading of all("h1, h2, h3, h4")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) say("heading level skipped", heading);
    level = next;
  }
  const ids = new Set();
  for (const node of all("[id]")) { if (ids.has(node.id)) say("id twice", node); ids.add(node.id); }
  for (const node of all("[aria-labelledby], [aria-describedby]"))
    for (const id of (node.getAttribute("aria-labelledby") || node.getAttribute("aria-describedby")).split(" "))
      if (!document.getElementById(id)) say("label points nowhere", node);
  for (const cell of all("th")) if (!cell.hasAttribute("scope") && !cell.closest(".note")) say("header without scope", cell);

  // names
  const name = (node) => (node.getAttribute("aria-label") || node.textContent || node.getAttribute("title") || "").trim();
  for (const node of all("a[href], button, summary")) if (shown(node) && !node.closest("[aria-hidden]") && !name(node)) say("no name", node);
  for (const node of all("input:not([type=hidden]), textarea, select"))
    if (shown(node) && !node.labels.length && !node.getAttribute("aria-label")) say("no label", node);
  for (const node of all("svg")) if (shown(node) && node.getAttribute("aria-hidden") !== "true" && !node.getAttribute("aria-label")) say("picture without name", node);

  // targets: 24 pixels, unless in running text
  for (const node of all("button, input:not([type=hidden]), summary, .button, nav a")) {
    const box = node.getBoundingClientRect();
    if (shown(node) && !node.classList.contains("link") && (box.height < 24 || box.width < 24)) say("target smaller than 24 px", node);
  }

  // contrast, with what is really painted
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); return paint.getImageData(0, 0, 1, 1).data; };
  const over = (top, below) => [0, 1, 2].map((at) => top[at] * (top[3] / 255) + below[at] * (1 - top[3] / 255)).concat(255);
  const ground = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) { const c = rgba(getComputedStyle(one).backgroundColor); layers.push(c); if (c[3] === 255) break; }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 255]);
  };
  const light = (c) => { const [r, g, b] = [0, 1, 2].map((at) => { const v = c[at] / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const done = new Set();
  for (let text; (text = walker.nextNode()); ) {
    const node = text.parentElement;
    if (!text.data.trim() || done.has(node) || !shown(node) || node.closest("button:disabled, .away")) continue;
    done.add(node);
    const style = getComputedStyle(node), below = ground(node);
    const ink = over(rgba(node.namespaceURI.includes("svg") ? style.fill : style.color), below);
    const [high, low] = [light(ink), light(below)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (large ? 3 : 4.5)) say("contrast " + ratio.toFixed(2), node);
  }
  return found;
}
