// Mammograms with zoom, window and level, outlines, patches and heat maps. Rebuilt only when the data change:
// Streamlit calls the component after every script run, and a rebuild would reset the view.
const built = new WeakMap();
const SVG = "http://www.w3.org/2000/svg";
// Matplotlib's inferno for probabilities and viridis for contributions, at nine stops, dark to light.
const RAMPS = {
  probability: [[0,0,4],[31,12,72],[85,15,109],[136,34,106],[186,54,85],[227,89,51],[249,140,10],[249,201,50],[252,255,164]],
  contribution: [[68,1,84],[71,44,122],[59,81,139],[44,113,142],[33,144,141],[39,173,129],[92,200,99],[170,220,50],[253,231,37]],
};
const colour = (v, stops) => {
  const at = v / 255 * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2), f = at - i;
  return stops[i].map((c, k) => c + (stops[i + 1][k] - c) * f);
};
const make = (tag, name, parent) => { const e = document.createElement(tag); if (name) e.className = name; if (parent) parent.append(e); return e; };

function heat(canvas, grid, stops) {
  const bytes = Uint8Array.from(atob(grid.data), c => c.charCodeAt(0));
  const small = document.createElement("canvas");
  small.width = grid.w; small.height = grid.h;
  const image = small.getContext("2d").createImageData(grid.w, grid.h);
  bytes.forEach((v, i) => { const [r, g, b] = colour(v, stops); image.data.set([r, g, b, Math.min(225, v * 1.5)], 4 * i); });
  small.getContext("2d").putImageData(image, 0, 0);
  canvas.width = 8 * grid.w; canvas.height = 8 * grid.h;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = true; context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function overlay(sheet, panel, tip) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 100"); svg.setAttribute("preserveAspectRatio", "none");
  const boxes = document.createElementNS(SVG, "g"), lines = document.createElementNS(SVG, "g");
  for (const b of panel.boxes) {
    const r = document.createElementNS(SVG, "rect");
    Object.entries({x: 100 * b.x, y: 100 * b.y, width: 100 * b.width, height: 100 * b.height, class: "box " + b.kind}).forEach(([k, v]) => r.setAttribute(k, v));
    if (b.color) r.style.stroke = b.color;
    r.onmouseenter = () => { tip.textContent = b.text; };
    r.onmouseleave = () => { tip.textContent = ""; };
    boxes.append(r);
  }
  for (const [list, extra] of [[panel.outlines, ""], [panel.nested, " nested"]])
    for (const d of list) for (const name of ["halo", "outline" + extra]) {
      const p = document.createElementNS(SVG, "path");
      p.setAttribute("d", d); p.setAttribute("class", name); lines.append(p);
    }
  svg.append(boxes, lines); sheet.append(svg);
  return {boxes, lines};
}

// Beyond the pixels of the working image the image at source resolution takes its place, and a line says which is shown.
function sharpen(view, stage, sheet, img, panel) {
  const line = make("div", "resolution", stage), working = `Working image, ${panel.pixels} px wide`;
  line.textContent = working; line.setAttribute("role", "status");
  let requested = false;
  view.draw.push(() => {
    const magnified = view.zoom * sheet.clientWidth * devicePixelRatio > panel.pixels;
    line.style.display = magnified ? "" : "none";
    if (!magnified || requested || !panel.source) return;
    requested = true;
    line.textContent = `${working}; source is loading`;
    const source = new Image();
    source.src = panel.source;
    source.decode().then(
      () => { img.src = source.src; line.textContent = `Source resolution, ${source.naturalWidth} px wide`; },
      () => { line.textContent = `${working}; source not loaded: reload the page`; },
    );
  });
}

// view: zoom, position and window of the panels that share it, and the functions that draw them.
function build(panel, height, patches, view) {
  const figure = make("figure", "panel"), head = make("div", "head", figure);
  make("span", "", head).textContent = panel.title; make("span", "", head).textContent = panel.right;
  const stage = make("div", "stage", figure);
  // The pages are designed for a height of 640 px; on taller screens the images keep their share of it.
  stage.style.height = `max(${height}px, ${(height / 6.4).toFixed(1)}vh)`; stage.tabIndex = 0;
  stage.setAttribute("role", "img"); stage.setAttribute("aria-label", panel.alt);
  const sheet = make("div", "sheet", stage), img = make("img", "", sheet), tip = make("div", "tip", stage);
  img.alt = panel.alt; img.draggable = false; img.src = panel.url;
  img.onerror = () => { const again = make("button", "lost", stage); again.type = "button"; again.textContent = "Image not loaded. Try again"; again.onclick = () => { again.remove(); img.src = panel.url + "?" + Date.now(); }; };
  const stops = RAMPS[panel.ramp];
  if (panel.heat) heat(make("canvas", "", sheet), panel.heat, stops);
  const {boxes, lines} = overlay(sheet, panel, tip);
  boxes.style.display = patches || panel.boxes.some(b => b.kind === "mark") ? "" : "none";
  const draw = () => {
    const w = stage.clientWidth, h = stage.clientHeight, width = Math.min(w, h * panel.aspect), tall = width / panel.aspect;
    Object.assign(sheet.style, {width: width + "px", height: tall + "px", left: (w - width) / 2 + "px", top: (h - tall) / 2 + "px",
      transform: `translate(${view.x * width}px,${view.y * tall}px) scale(${view.zoom})`});
    sheet.style.setProperty("--zoom", view.zoom);  // outlines keep their width
    img.style.filter = view.bright === 1 && view.contrast === 1 ? "" : `brightness(${view.bright}) contrast(${view.contrast})`;
  };
  view.draw.push(draw);
  if (!panel.heat) sharpen(view, stage, sheet, img, panel);
  const fit = () => view.draw.forEach(each => each());
  new ResizeObserver(fit).observe(stage);
  stage.addEventListener("wheel", event => {
    event.preventDefault();
    const box = sheet.getBoundingClientRect(), old = view.zoom;
    view.zoom = Math.min(24, Math.max(1, old * Math.exp(-event.deltaY / 400)));
    // In shares of the image, so that panels of different sizes show the same place.
    view.x -= (event.clientX - box.left) / box.width * (view.zoom - old); view.y -= (event.clientY - box.top) / box.height * (view.zoom - old);
    if (view.zoom === 1) view.x = view.y = 0;
    fit();
  }, {passive: false});
  let from = null;
  stage.onpointerdown = event => { from = {...view, x: event.clientX, y: event.clientY, ox: view.x, oy: view.y}; stage.setPointerCapture(event.pointerId); };
  stage.onpointermove = event => {
    if (!from) return;
    const dx = event.clientX - from.x, dy = event.clientY - from.y;
    if (event.shiftKey) { view.x = from.ox + dx / sheet.offsetWidth; view.y = from.oy + dy / sheet.offsetHeight; }
    else { view.contrast = Math.max(.2, from.contrast * Math.exp(dx / 220)); view.bright = Math.max(.2, from.bright * Math.exp(-dy / 220)); }
    fit();
  };
  stage.onpointerup = stage.onpointercancel = () => { from = null; };
  stage.ondblclick = () => { Object.assign(view, {zoom: 1, x: 0, y: 0, bright: 1, contrast: 1}); fit(); };
  stage.onkeydown = event => {
    if (event.key === "o" || event.key === "O") lines.style.display = lines.style.display ? "" : "none";
    if (event.key === "p" || event.key === "P") boxes.style.display = boxes.style.display ? "" : "none";
  };
  if (panel.scale) {
    const line = make("div", "line", figure);
    make("span", "", line).textContent = panel.scale[0];
    make("i", "ramp", line).style.background = `linear-gradient(90deg,${stops.map(c => `rgb(${c})`).join(",")})`;
    make("span", "", line).textContent = panel.scale[1];
  }
  if (panel.caption) make("div", "cap", figure).textContent = panel.caption;
  if (panel.note) { const note = make("div", "note", figure); note.textContent = note.title = panel.note; }
  return figure;
}

export default function (component) {
  const {data, parentElement} = component;
  const root = parentElement.querySelector(".mammograms"), signature = JSON.stringify(data);
  if (built.get(root) === signature) return;
  built.set(root, signature);
  const fresh = () => ({zoom: 1, x: 0, y: 0, bright: 1, contrast: 1, draw: []}), shared = fresh();
  root.replaceChildren(...data.panels.map(panel => build(panel, data.height, data.patches, data.linked ? shared : fresh())));
}
