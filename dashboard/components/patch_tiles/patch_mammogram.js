// The mammogram of a patch, with the patch framed.
const shown = new WeakMap();
export default function ({data, parentElement}) {
  const root = parentElement.querySelector(".side"), signature = JSON.stringify(data);
  if (shown.get(root) === signature) return;
  const isNew = !shown.has(root);
  shown.set(root, signature);
  const frame = root.querySelector(".mammogram"), img = frame.querySelector("img"), box = frame.querySelector("i");
  const line = root.querySelector(".line"), note = root.querySelector(".note");
  // The page is designed for a height of 640 px; on taller screens the mammogram keeps its share of it.
  frame.style.height = `max(${data.height}px, ${(data.height / 6.4).toFixed(1)}vh)`;
  root.show = it => {
    root.item = it;
    const w = frame.clientWidth, h = frame.clientHeight, width = Math.min(w, h * it.aspect), height = width / it.aspect;
    const left = (w - width) / 2, top = (h - height) / 2, [x, y, bw, bh] = it.box;
    img.src = it.mammogram; img.alt = "mammogram of " + it.name;
    Object.assign(img.style, {left: left + "px", top: top + "px", width: width + "px", height: height + "px"});
    Object.assign(box.style, {left: left + x * width + "px", top: top + y * height + "px", width: bw * width + "px", height: bh * height + "px"});
    line.replaceChildren(...[it.left, it.right].map(t => { const s = document.createElement("span"); s.textContent = t; return s; }));
    note.textContent = it.note;
  };
  root.show(data.item);
  if (!isNew) return;
  const listen = event => root.show(event.detail);
  window.addEventListener("deepminer-patch", listen);
  const size = new ResizeObserver(() => root.show(root.item));
  size.observe(frame);
  return () => { window.removeEventListener("deepminer-patch", listen); size.disconnect(); };
}
