// Copies the command. The clipboard interface exists on encrypted and local pages only; elsewhere a selected text is copied.
const copy = async text => {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text; area.style.position = "fixed"; area.style.opacity = "0";
  document.body.append(area); area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("the browser refused");
};

export default function ({data, parentElement}) {
  const root = parentElement.querySelector(".next"), code = root.querySelector("code"), status = root.querySelector(".status");
  root.querySelector(".what").textContent = "Next: " + data.sentence;
  code.textContent = data.command;
  code.title = data.full;
  root.querySelector("button").onclick = () => copy(data.full).then(
    () => { status.textContent = "Copied"; },
    () => { status.textContent = "Not copied: select the command and press Ctrl+C"; code.textContent = data.full; });
}
