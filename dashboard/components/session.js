// Shared by the experts' pages: requests to the server, the stopwatch without idle time, DOM helpers.
const DEAD_MS = 400;      // a key this soon after a new item was meant for the item before
const IDLE_MS = 60000;    // the stopwatch pauses after this long without activity
const RETRY_MS = 2000;

const createNode = (tag, props = {}, ...children) => {
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

// Streamlit states its colours in CSS variables but not its theme: the background's luma decides between light and dark.
const setTheme = (root) => {
  const colour = getComputedStyle(root).getPropertyValue("--st-background-color").trim();
  const hex = /^#([0-9a-f]{6})/i.exec(colour);
  const rgb = hex ? [0, 2, 4].map((i) => parseInt(hex[1].slice(i, i + 2), 16)) : (colour.match(/\d+/g) || [255, 255, 255]).map(Number);
  root.dataset.theme = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2] < 128 ? "dark" : "light";
};

// Requests to the expert's routes. A request without a reply is repeated with the same one-time token, while a bar informs the expert.
// The token makes the repetition safe: the server saves an answer once, however often it arrives.
class SessionClient {
  constructor(prefix, base, bar) {
    this.prefix = prefix; this.base = prefix + base; this.bar = bar; this.lost = false; this.ended = false;
    this.heartbeat = setInterval(() => this.check(), 5000);
  }

  stop() { clearInterval(this.heartbeat); this.ended = true; }

  showMessage(text) {
    this.lost = Boolean(text); this.bar.textContent = text || ""; this.bar.hidden = !text;
    this.bar.parentNode.querySelectorAll(".form, .foot, .six, .three").forEach((node) => { node.inert = this.lost; });
  }

  async send(path, body) {
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

  async request(path, body) {
    while (!this.ended) {
      const { status, data } = await this.send(path, body);
      if (status === 401 || status === 403) {
        this.showMessage("Your session has ended. Open your invitation link again; what you typed is kept on this device.");
        this.ended = true;
        break;
      }
      if (status !== 0 && status < 500) { this.showMessage(""); return { ok: status === 200, data }; }
      this.showMessage(data.message || "Connection lost. What you entered is kept here and is sent when the server answers again.");
      await wait(RETRY_MS);
    }
    return new Promise(() => {});
  }

  async check() {
    if (this.ended || document.hidden) return;
    try {
      const reply = await fetch(this.prefix + "/_stcore/health", { cache: "no-store", signal: AbortSignal.timeout(4000) });
      if (reply.ok && this.unreachable) { this.unreachable = false; this.showMessage(""); }
      // Streamlit makes its page inert when the websocket is lost; these pages need the HTTP routes only.
      if (reply.ok) document.getElementById("root")?.removeAttribute("inert");
    } catch {
      this.unreachable = true;
      this.showMessage("Connection lost. What you entered is kept here and is sent when the server answers again.");
    }
  }
}

// Active seconds: not counted in a hidden tab, while paused, and from IDLE_MS after the last activity on.
class Stopwatch {
  constructor() { this.reset(); this.paused = false; this.timer = setInterval(() => this.tick(), 250); }
  reset(seconds = 0) { this.seconds = seconds; this.idle = false; this.alive = this.last = performance.now(); }
  recordActivity() { this.alive = performance.now(); }
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

const isTyping = (event) => {
  const target = event.composedPath()[0];
  return target instanceof HTMLElement && (target.tagName === "TEXTAREA" || (target.tagName === "INPUT" && target.type === "text"));
};

// Keyboard control of a viewer: Z zooms on the box (or the middle), W and L narrow the window and lower the level, Shift reverses, R resets.
// Returns whether the key was one of these.
const viewerKey = (viewer, event) => {
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

// Placeholder for an image that was not loaded. The frame around it captures the pointer for windowing, which would prevent the click.
const retryButton = (text, again) => {
  const button = createNode("button", { type: "button", class: "gone", textContent: text, onclick: again });
  button.onpointerdown = (event) => event.stopPropagation();
  return button;
};

// The page behind the link asks before it signs out.
const signOutLink = (prefix) => createNode("a", { class: "btn sm out", href: prefix + "/sign-out", target: "_self", textContent: "Sign out" });

// A page of text with one button and, for consent, a checkbox and a field for the experience.
// consent: the hash of the text that is shown; it is sent with the agreement.
const textPage = ({ title, paragraphs, button, consent, prefix, onDone }) => {
  const experience = createNode("input", { type: "text", maxLength: 200, id: "experience", placeholder: "for example: breast radiologist, 12 years" });
  const box = createNode("input", { type: "checkbox", id: "agree" });
  const go = button ? createNode("button", { type: "button", class: "btn pri", textContent: button, disabled: Boolean(consent) }) : null;
  if (go) go.onclick = () => { go.disabled = true; onDone({ experience: experience.value, consent_hash: consent }); };
  box.onchange = () => { go.disabled = !box.checked; };
  const page = createNode("div", { class: "page" }, createNode("h1", { textContent: title }), ...paragraphs.map((text) => createNode("p", { textContent: text })));
  if (consent) {
    page.append(createNode("label", { htmlFor: "experience", textContent: "Your experience (optional)" }), experience,
      createNode("label", { class: "agree" }, box, "I have read this and agree to take part."));
  }
  page.append(createNode("div", { class: "row" }, go, signOutLink(prefix)));
  return page;
};
