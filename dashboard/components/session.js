// Shared by both experts' pages: the line to the server, the clock without idle time, small builders.
const DEAD_MS = 400;      // keys that follow a new item faster than this belong to the last one
const IDLE_MS = 60000;    // after this long without a sign of life the clock stands still
const RETRY_MS = 2000;

const make = (tag, props = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") node.className = value;
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const clockTime = (iso) => (iso ? new Date(iso) : new Date()).toTimeString().slice(0, 5);

// Streamlit's colours are there as variables; which of our two sets fits them is read from the background.
const setTheme = (root) => {
  const colour = getComputedStyle(root).getPropertyValue("--st-background-color").trim();
  const hex = /^#([0-9a-f]{6})/i.exec(colour);
  const rgb = hex ? [0, 2, 4].map((i) => parseInt(hex[1].slice(i, i + 2), 16)) : (colour.match(/\d+/g) || [255, 255, 255]).map(Number);
  root.dataset.theme = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2] < 128 ? "dark" : "light";
};

// Requests to the desk. A request that gets no answer is repeated with the same one-time token until it does; the bar says so meanwhile.
class Desk {
  constructor(prefix, base, bar) {
    this.prefix = prefix; this.base = prefix + base; this.bar = bar; this.lost = false; this.ended = false;
    this.beat = setInterval(() => this.check(), 5000);
  }

  stop() { clearInterval(this.beat); this.ended = true; }

  say(text) {
    this.lost = Boolean(text); this.bar.textContent = text || ""; this.bar.hidden = !text;
    this.bar.parentNode.querySelectorAll(".form, .foot, .six, .three").forEach((node) => { node.inert = this.lost; });
  }

  async once(path, body) {
    const cancel = new AbortController();
    const timer = setTimeout(() => cancel.abort(), 15000);
    try {
      const reply = await fetch(this.base + path, {
        method: body ? "POST" : "GET", cache: "no-store", signal: cancel.signal,
        headers: body ? { "Content-Type": "application/json" } : {}, body: body ? JSON.stringify(body) : undefined,
      });
      return { status: reply.status, data: await reply.json().catch(() => ({})) };
    } catch { return { status: 0, data: {} }; } finally { clearTimeout(timer); }
  }

  async ask(path, body) {
    while (!this.ended) {
      const { status, data } = await this.once(path, body);
      if (status === 401 || status === 403) {
        this.say("Your session has ended. Open your invitation link again; what you typed is kept on this device.");
        this.ended = true;
        break;
      }
      if (status !== 0 && status < 500) { this.say(""); return { ok: status === 200, data }; }
      this.say(data.sentence || "Connection lost. What you entered is kept here and is sent when the server answers again.");
      await wait(RETRY_MS);
    }
    return new Promise(() => {});
  }

  async check() {
    if (this.ended || document.hidden) return;
    try {
      const reply = await fetch(this.prefix + "/_stcore/health", { cache: "no-store", signal: AbortSignal.timeout(4000) });
      if (reply.ok && this.unreachable) { this.unreachable = false; this.say(""); }
      // Streamlit makes its page inert behind a dialog of its own; the desk's line is what counts here.
      if (reply.ok) document.getElementById("root")?.removeAttribute("inert");
    } catch {
      this.unreachable = true;
      this.say("Connection lost. What you entered is kept here and is sent when the server answers again.");
    }
  }
}

// Seconds somebody really spent: nothing is counted in a hidden tab, while paused, or 60 s after the last sign of life.
class Stopwatch {
  constructor() { this.reset(); this.paused = false; this.timer = setInterval(() => this.tick(), 250); }
  reset(seconds = 0) { this.seconds = seconds; this.idle = false; this.alive = this.last = performance.now(); }
  sign() { this.alive = performance.now(); }
  stop() { clearInterval(this.timer); }
  tick() {
    const now = performance.now();
    const counted = !document.hidden && !this.paused && now - this.alive < IDLE_MS;
    if (counted) this.seconds += (now - this.last) / 1000;
    else if (!this.paused) this.idle = true;
    this.last = now;
  }
  read() { this.tick(); return Math.round(this.seconds * 1000) / 1000; }
}

const typing = (event) => {
  const target = event.composedPath()[0];
  return target instanceof HTMLElement && (target.tagName === "TEXTAREA" || (target.tagName === "INPUT" && target.type === "text"));
};

// A film by keyboard: Z zooms on the box (or the middle), W and L narrow the window and lower the level, with Shift the other way; R resets.
// True if the key was one of these.
const filmKey = (viewer, event) => {
  const key = event.key.toLowerCase(), way = event.shiftKey ? -1 : 1;
  if (key === "r") viewer.reset();
  else if (key === "z") {
    const { style, hidden } = viewer.box ?? { style: {}, hidden: true };
    const middle = (from, size) => (hidden || !from ? 0.5 : (parseFloat(from) + parseFloat(size) / 2) / 100);
    viewer.zoom = Math.min(8, Math.max(1, viewer.zoom * (way > 0 ? 1.5 : 1 / 1.5)));
    if (viewer.zoom < 1.01) viewer.resetView();
    else {
      viewer.x = viewer.stage.clientWidth * (0.5 - middle(style.left, style.width) * viewer.zoom);
      viewer.y = viewer.stage.clientHeight * (0.5 - middle(style.top, style.height) * viewer.zoom);
    }
    viewer.paint();
  } else if (!viewer.fixed && key === "w") { viewer.window = Math.min(510, Math.max(8, viewer.window - 16 * way)); viewer.paint(); }
  else if (!viewer.fixed && key === "l") { viewer.level = Math.min(255, Math.max(0, viewer.level - 8 * way)); viewer.paint(); }
  else return false;
  return true;
};

// What stands where an image was not loaded. The frame around it catches the pointer for windowing and would swallow the click.
const retryButton = (text, again) => {
  const button = make("button", { type: "button", class: "gone", textContent: text, onclick: again });
  button.onpointerdown = (event) => event.stopPropagation();
  return button;
};

// A whole page of text with one button; with a consent box and a field for experience where asked.
const textPage = ({ title, paragraphs, button, consent, onDone }) => {
  const experience = make("input", { type: "text", maxLength: 200, id: "experience", placeholder: "for example: breast radiologist, 12 years" });
  const box = make("input", { type: "checkbox", id: "agree" });
  const go = button ? make("button", { type: "button", class: "btn pri", textContent: button, disabled: Boolean(consent) }) : null;
  if (go) go.onclick = () => { go.disabled = true; onDone({ experience: experience.value }); };
  box.onchange = () => { go.disabled = !box.checked; };
  const page = make("div", { class: "page" }, make("h1", { textContent: title }), ...paragraphs.map((text) => make("p", { textContent: text })));
  if (consent) {
    page.append(make("label", { htmlFor: "experience", textContent: "Your experience (optional)" }), experience,
      make("label", { class: "agree" }, box, "I have read this and agree to take part."));
  }
  if (go) page.append(make("div", { class: "row" }, go));
  return page;
};
