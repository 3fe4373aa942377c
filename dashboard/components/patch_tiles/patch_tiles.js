// A grid of patches. The tile under the pointer is announced to the mammogram beside it. Rebuilt only when the data change.
const built = new WeakMap();
export default function ({data, parentElement}) {
  const grid = parentElement.querySelector(".grid"), signature = JSON.stringify(data);
  if (built.get(grid) === signature) return;
  built.set(grid, signature);
  grid.style.gridTemplateColumns = `repeat(${data.columns},1fr)`;
  let pinned = -1, region = true;
  const show = i => {
    window.dispatchEvent(new CustomEvent("deepminer-patch", {detail: data.items[i]}));
    [...grid.children].forEach((b, k) => b.setAttribute("aria-pressed", k === i));
  };
  grid.replaceChildren(...data.items.map((it, i) => {
    const b = document.createElement("button"); b.type = "button"; b.setAttribute("aria-pressed", i === 0);
    const t = document.createElement("img"); t.src = it.tile; t.alt = it.name; b.append(t);
    b.onmouseenter = () => { if (pinned < 0) show(i); };
    b.onfocus = () => show(i);
    b.onclick = () => { pinned = pinned === i ? -1 : i; show(i); };
    return b;
  }));
  data.items.forEach(it => { new Image().src = it.mammogram; new Image().src = it.plain; });  // loaded ahead, so that hovering and H need no request
  grid.onkeydown = event => {
    if (event.key === "Escape") pinned = -1;
    if (event.key === "h" || event.key === "H") { region = !region; [...grid.querySelectorAll("img")].forEach((t, i) => { t.src = region ? data.items[i].tile : data.items[i].plain; }); }
  };
}
