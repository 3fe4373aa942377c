// A grid of patches and the mammogram of the patch under the pointer. Rebuilt only when the data change.
const built = new WeakMap();
export default function ({data, parentElement}) {
  const root = parentElement.querySelector(".wrap"), signature = JSON.stringify(data);
  if (built.get(root) === signature) return;
  built.set(root, signature);
  const grid = root.querySelector(".grid"), frame = root.querySelector(".mammogram"), img = frame.querySelector("img"), box = frame.querySelector("i");
  const line = root.querySelector(".line"), note = root.querySelector(".note");
  grid.style.gridTemplateColumns = `repeat(${data.columns},${data.tile}px)`;
  Object.assign(frame.style, {width: data.width + "px", height: data.height + "px"});
  root.querySelector(".side").style.width = data.width + "px";
  let pinned = -1, region = true;
  const show = i => {
    const it = data.items[i], width = Math.min(data.width, data.height * it.aspect), height = width / it.aspect;
    const left = (data.width - width) / 2, top = (data.height - height) / 2, [x, y, w, h] = it.box;
    img.src = it.mammogram; img.alt = `mammogram of patch ${i + 1}`;
    Object.assign(img.style, {left: left + "px", top: top + "px", width: width + "px", height: height + "px"});
    Object.assign(box.style, {left: left + x * width + "px", top: top + y * height + "px", width: w * width + "px", height: h * height + "px"});
    line.replaceChildren(...[it.left, it.right].map(t => { const s = document.createElement("span"); s.textContent = t; return s; }));
    note.textContent = it.note;
    [...grid.children].forEach((b, k) => b.setAttribute("aria-pressed", k === i));
  };
  grid.replaceChildren(...data.items.map((it, i) => {
    const b = document.createElement("button"); b.type = "button"; Object.assign(b.style, {width: data.tile + "px", height: data.tile + "px"});
    const t = document.createElement("img"); t.src = it.tile; t.alt = `patch ${i + 1}`; b.append(t);
    b.onmouseenter = () => { if (pinned < 0) show(i); };
    b.onfocus = () => show(i);
    b.onclick = () => { pinned = pinned === i ? -1 : i; show(i); };
    return b;
  }));
  data.items.forEach(it => { new Image().src = it.mammogram; new Image().src = it.plain; });  // loaded ahead, so that hovering and H need no request
  root.onkeydown = event => {
    if (event.key === "Escape") pinned = -1;
    if (event.key === "h" || event.key === "H") { region = !region; [...grid.querySelectorAll("img")].forEach((t, i) => { t.src = region ? data.items[i].tile : data.items[i].plain; }); }
  };
  if (data.items.length) show(0);
}
