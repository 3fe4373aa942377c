// Rows of units. Rebuilt only when the data change.
const built = new WeakMap();
const make = (tag, name, parent, text) => { const e = document.createElement(tag); if (name) e.className = name; if (text !== undefined) e.textContent = text; if (parent) parent.append(e); return e; };

function row(item, open) {
  const r = make("button", "row"); r.type = "button"; r.setAttribute("aria-label", "open " + item.name);
  const id = make("div", "", r); make("div", "name", id, item.name); make("div", "mute", id, item.under);
  const tiles = make("div", "tiles", r);
  item.tiles.forEach((url, i) => { const img = make("img", "", tiles); img.src = url; img.alt = `patch ${i + 1}`; img.loading = "lazy"; });
  const counts = make("div", "", r), bar = make("div", "bar", counts), text = [];
  for (const [kind, n] of Object.entries(item.counts)) {
    if (n) { const part = make("i", "", bar); part.style.flex = n; part.style.background = item.colors[kind]; part.title = kind; }
    text.push(item.short[kind] + " " + n);
  }
  make("div", "mute", counts, text.join("   "));
  const label = make("div", "", r); make("div", item.label ? "label" : "label none", label, item.label || "No label"); make("div", "mute", label, item.source);
  const share = make("div", "share", r); make("b", "", share, item.share); item.facts.forEach(fact => make("div", "mute", share, fact));
  r.onclick = () => open(item.unit);
  return r;
}

export default function ({data, parentElement, setTriggerValue}) {
  const root = parentElement.querySelector(".gallery"), signature = JSON.stringify(data);
  if (built.get(root) === signature) return;
  built.set(root, signature);
  const header = make("div", "header mute");
  ["Unit", "8 patches with the largest activation", "Patch classes", "Label", "Share of top 8"].forEach(t => make("span", "", header, t));
  root.replaceChildren(header, ...data.rows.map(item => row(item, unit => setTriggerValue("open", unit))));
}
