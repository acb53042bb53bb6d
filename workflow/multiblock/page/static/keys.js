// Keys of the viewer, and the list of them.

const KEYS = [
  ["1 … 9", "picture B is that of the list, in place"],
  ["0", "picture B is the target, or the last one"],
  ["x", "swap A and B"],
  ["m", "slider, side by side, one picture"],
  ["g, l", "the largest gain, the largest loss"],
  ["e", `errors: how far from the target, ×${ERROR_FACTOR}`],
  ["+, −", "zoom"],
  ["f", "the whole picture"],
  ["arrows", "move, where the picture has the focus; move the divider, where that has it"],
  ["[, ]", "image before, image after"],
  ["?", "this list"],
];

// CSS pixels that an arrow key moves.
const FAR = 48;

function keyHelp() {
  const row = ([key, what]) => element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, what));
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
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || viewer.help.open || !viewer.pictures.length) return;
  const inside = viewer.root.contains(target);
  if ((!inside && !viewer.hovered) || ["SELECT", "TEXTAREA"].includes(target.tagName)) return;
  const act = actionOf(viewer, event.key, target.classList.contains("picture"));
  if (!act) return;
  act();
  event.preventDefault();
}

function actionOf(viewer, key, isPicture) {
  if (key === "0") return () => viewer.choose("b", viewer.cut.target ?? viewer.pictures.length - 1);
  if (/^[1-9]$/.test(key)) return () => viewer.choose("b", Number(key) - 1);
  const { places } = viewer.cut;
  const modes = Object.keys(MODES);
  const actions = {
    x: () => viewer.swap(),
    m: () => viewer.setMode(modes[(modes.indexOf(viewer.mode) + 1) % modes.length]),
    e: () => viewer.setErrors(!viewer.errors),
    f: () => viewer.fit(),
    g: () => places.length && viewer.goTo(places[0]),
    l: () => places.length && viewer.goTo(places[places.length - 1]),
    "+": () => viewer.zoom(Math.SQRT2),
    "=": () => viewer.zoom(Math.SQRT2),
    "-": () => viewer.zoom(1 / Math.SQRT2),
    "[": () => viewer.step(-1),
    "]": () => viewer.step(1),
    "?": () => viewer.help.showModal(),
  };
  const moves = {
    ArrowLeft: () => viewer.move(FAR, 0),
    ArrowRight: () => viewer.move(-FAR, 0),
    ArrowUp: () => viewer.move(0, FAR),
    ArrowDown: () => viewer.move(0, -FAR),
  };
  return actions[key] || (isPicture && moves[key]);
}
