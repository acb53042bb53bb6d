// What the viewer is made of: selectors, buttons, canvases. Each control calls one thing that the viewer can do.

const MODES = { slider: "Slider", side: "Side by side", one: "One picture" };

const button = (text, title, act) => element("button", { type: "button", title, onclick: act }, text);

// The parts that the viewer goes on working with, put into its root.
function controlsOf(viewer) {
  const parts = { ...selectors(viewer), ...options(viewer), ...stage(), ...numbers(), help: keyHelp() };
  parts.range = element("input", {
    type: "range",
    min: 0,
    max: 200,
    value: 100,
    class: "divide",
    "aria-label": "divider between A and B",
    oninput: () => viewer.setSplit(parts.range.value / 200),
  });
  const choice = (label, control) => element("label", { class: "choice" }, element("span", {}, label), control);
  const first = [choice("image", parts.imageSelect), choice("A", parts.selects[0]), choice("B", parts.selects[1])];
  const help = element("div", { class: "buttons" }, button("?", "keys", () => parts.help.showModal()));
  viewer.root.append(
    element("div", { class: "controls" }, ...first),
    element("div", { class: "controls" }, parts.modes, parts.places, parts.errorLabel, zooms(viewer), help),
    parts.stage,
    parts.range,
    parts.status,
    parts.table,
    parts.help,
  );
  return parts;
}

function selectors(viewer) {
  const names = viewer.cuts.map((cut, n) => element("option", { value: n }, cut.title));
  const imageSelect = element("select", { "aria-label": "image", onchange: () => viewer.open(imageSelect.selectedIndex) }, ...names);
  const selects = ["a", "b"].map((side) => {
    const change = (event) => viewer.choose(side, event.target.selectedIndex);
    return element("select", { "aria-label": `picture ${side.toUpperCase()}`, onchange: change });
  });
  return { imageSelect, selects };
}

function options(viewer) {
  const modes = element("fieldset", { class: "segments" }, element("legend", { class: "hidden" }, "how to compare"));
  for (const [mode, title] of Object.entries(MODES)) {
    const change = () => viewer.setMode(mode);
    const radio = element("input", { type: "radio", name: "mode", value: mode, checked: mode === viewer.mode, onchange: change });
    modes.append(element("label", {}, radio, element("span", {}, title)));
  }
  const errorBox = element("input", { type: "checkbox", onchange: () => viewer.setErrors(errorBox.checked) });
  const errorLabel = element("label", { class: "check" }, errorBox, element("span", {}, `error ×${ERROR_FACTOR}`));
  return { modes, errorBox, errorLabel, places: element("div", { class: "buttons" }) };
}

function zooms(viewer) {
  return element(
    "div",
    { class: "buttons", role: "group", "aria-label": "zoom" },
    button("−", "zoom out (−)", () => viewer.zoom(1 / Math.SQRT2)),
    button("+", "zoom in (+)", () => viewer.zoom(Math.SQRT2)),
    button("1:1", "an image pixel is a screen pixel", () => viewer.zoomTo(1)),
    button("fit", "the whole picture (f)", () => viewer.fit()),
  );
}

// Two canvases; the second is hidden where one is enough.
function stage() {
  const frames = ["a", "b"].map((side) => {
    const canvas = element("canvas", { tabindex: 0, role: "img", class: "picture" });
    const tag = element("span", { class: `tag ${side}` });
    return { canvas, tag, box: element("div", { class: "frame" }, canvas, tag), context: canvas.getContext("2d") };
  });
  const [first] = frames;
  first.second = element("span", { class: "tag b" });
  first.divider = element("div", { class: "divider" }, element("span", { class: "grip" }));
  first.box.append(first.second, first.divider);
  return { frames, stage: element("div", { class: "stage" }, ...frames.map((frame) => frame.box)) };
}

function numbers() {
  const heads = ["key", "picture", "PSNR of what is seen", "over the first"];
  const head = element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text))));
  const list = element("tbody");
  const box = { class: "scroll", tabindex: 0, role: "region", "aria-label": "pictures" };
  const table = element("div", box, element("table", { class: "pictures" }, head, list));
  return { list, table, status: element("p", { class: "status", role: "status" }) };
}

// Keys of the viewer: the characters, their name in the list of keys, what they do, and how.
const KEYS = [
  {
    keys: "123456789", name: "1 … 9", what: "picture B is that of the list, in place",
    act: (viewer, key) => viewer.choose("b", Number(key) - 1),
  },
  {
    keys: "0", what: "picture B is the target, or the last one",
    act: (viewer) => viewer.choose("b", viewer.cut.target ?? viewer.pictures.length - 1),
  },
  { keys: "x", what: "swap A and B", act: (viewer) => viewer.swap() },
  { keys: "m", what: "slider, side by side, one picture", act: (viewer) => viewer.setMode(nextMode(viewer.mode)) },
  {
    keys: "gl", name: "g, l", what: "the largest gain, the largest loss",
    act: (viewer, key) => viewer.goTo(viewer.cut.places.at(key === "g" ? 0 : -1)),
  },
  {
    keys: "e", what: `errors: how far from the target, ×${ERROR_FACTOR}`,
    act: (viewer) => viewer.setErrors(!viewer.errors),
  },
  {
    keys: "+=-", name: "+, −", what: "zoom",
    act: (viewer, key) => viewer.zoom(key === "-" ? Math.SQRT1_2 : Math.SQRT2),
  },
  { keys: "f", what: "the whole picture", act: (viewer) => viewer.fit() },
  { keys: "", name: "arrows", what: "move, where the picture has the focus; move the divider, where that has it" },
  {
    keys: "[]", name: "[, ]", what: "image before, image after",
    act: (viewer, key) => viewer.step(key === "[" ? -1 : 1),
  },
  { keys: "?", what: "this list", act: (viewer) => viewer.help.showModal() },
];

// CSS pixels that an arrow key moves a picture, to the right and down.
const MOVES = { ArrowLeft: [48, 0], ArrowRight: [-48, 0], ArrowUp: [0, 48], ArrowDown: [0, -48] };

function nextMode(mode) {
  const modes = Object.keys(MODES);
  return modes[(modes.indexOf(mode) + 1) % modes.length];
}

function keyHelp() {
  const row = ({ keys, name, what }) => element("tr", {}, element("th", { scope: "row" }, name || keys), element("td", {}, what));
  const about =
    "Keys work while the pointer is over the viewer or something in it has the focus. The wheel zooms once the picture " +
    "was clicked, or with Ctrl; two fingers zoom; drag to move.";
  return element(
    "dialog",
    { class: "keys", "aria-label": "keys" },
    element("table", {}, element("tbody", {}, ...KEYS.map(row))),
    element("p", {}, about),
    element("form", { method: "dialog" }, element("button", {}, "close")),
  );
}

function onKey(viewer, event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || viewer.help.open || !viewer.pictures.length) return;
  const inside = viewer.root.contains(target);
  if ((!inside && !viewer.hovered) || ["SELECT", "TEXTAREA"].includes(target.tagName)) return;
  const entry = key.length === 1 && KEYS.find(({ keys }) => keys.includes(key));
  if (entry) entry.act(viewer, key);
  else if (key in MOVES && target.classList.contains("picture")) viewer.move(...MOVES[key]);
  else return;
  event.preventDefault();
}

// Drag to move or to shift the divider, two fingers to zoom.
class Gestures {
  constructor(canvas, viewer) {
    this.canvas = canvas;
    this.viewer = viewer;
    this.points = new Map();
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.points.delete(event.pointerId));
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  down(event) {
    const point = this.at(event);
    const { viewer } = this;
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.points.set(event.pointerId, point);
    const reach = event.pointerType === "touch" ? 32 : 16;
    this.divides = viewer.mode === "slider" && Math.abs(point.x - viewer.split * viewer.view.frame.width) < reach;
  }

  moved(event) {
    const before = this.points.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    const { viewer } = this;
    if (this.points.size === 2) this.pinch(event.pointerId, before, now);
    else if (this.divides) viewer.setSplit(now.x / viewer.view.frame.width);
    else viewer.move(now.x - before.x, now.y - before.y);
    this.points.set(event.pointerId, now);
  }

  pinch(moving, before, now) {
    const [other] = [...this.points].filter(([id]) => id !== moving).map(([, point]) => point);
    const far = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
    const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    this.viewer.view.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    this.viewer.zoom(far(now) / far(before), middle);
  }
}
