// The width of texts in pictures, and the room for a picture.

const measuring = document.createElement('canvas').getContext('2d');

export function widthOf(text, weight = 400, family = getComputedStyle(document.body).fontFamily) {
  measuring.font = `${weight} 13px ${family}`;
  return measuring.measureText(text).width;
}

export function fitted(text, width, weight) {
  if (widthOf(text, weight) <= width) return text;
  let end = text.length;
  while (end > 1 && widthOf(`${text.slice(0, end)}…`, weight) > width) end -= 1;
  return `${text.slice(0, end)}…`;
}

// The inner width of a figure: the main column without its padding and the figure's own.
export function roomFor() {
  const main = document.getElementById('main');
  const figure = matchMedia('(max-width: 640px)').matches ? 26 : 34;
  return Math.max(240, main.clientWidth - 2 * parseFloat(getComputedStyle(main).paddingLeft) - figure);
}
