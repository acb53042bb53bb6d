// Pictures as they are: decoded once, without loss, and their PSNR.

// The factor by which errors are shown.
const ERROR_FACTOR = 8;

// One picture of the page: a canvas to draw from, and its pixels as RGBA bytes.
async function decoded(picture) {
  const image = new Image();
  image.src = picture.src;
  await image.decode();
  const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return { label: picture.label, canvas, pixels, exact: sumOf(pixels) === picture.sum };
}

// Some browsers change pixels that are read back, against fingerprinting; then no PSNR can be trusted.
function sumOf(pixels) {
  let sum = 0;
  for (let at = 0; at < pixels.length; at += 4) sum += pixels[at] + pixels[at + 1] + pixels[at + 2];
  return sum;
}

// PSNR in dB of a rectangle of two pictures, all three channels together; infinite where they are equal.
function psnr(one, other, area) {
  const width = one.canvas.width;
  let total = 0;
  for (let y = area.top; y < area.bottom; y += 1) {
    const end = 4 * (y * width + area.right);
    for (let at = 4 * (y * width + area.left); at < end; at += 4) {
      const red = one.pixels[at] - other.pixels[at];
      const green = one.pixels[at + 1] - other.pixels[at + 1];
      const blue = one.pixels[at + 2] - other.pixels[at + 2];
      total += red * red + green * green + blue * blue;
    }
  }
  const values = 3 * (area.right - area.left) * (area.bottom - area.top);
  return total === 0 ? Infinity : 10 * Math.log10((255 * 255 * values) / total);
}

// How far a picture is from its target, so many times as strong.
function errorOf(picture, target) {
  const { width, height } = picture.canvas;
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  const shown = context.createImageData(width, height);
  for (let at = 0; at < shown.data.length; at += 1) {
    const isAlpha = at % 4 === 3;
    shown.data[at] = isAlpha ? 255 : ERROR_FACTOR * Math.abs(picture.pixels[at] - target.pixels[at]);
  }
  context.putImageData(shown, 0, 0);
  return canvas;
}
