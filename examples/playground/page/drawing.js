// Pictures on canvases, from plain arrays of numbers.

// Told apart by most people who see few colours, on light and on dark.
export const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#8c6bb1', '#8a8f98'];

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A canvas as sharp as the screen, in its own units.
export function context(canvas, width, height) {
  const sharp = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * sharp)) {
    canvas.width = Math.round(width * sharp);
    canvas.height = Math.round(height * sharp);
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(sharp, 0, 0, sharp, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

// The side of the large canvas, in its own units.
export const SIZE = 560;
const RADIUS = 215;

// Turns a place in space into one on the canvas; `depth` is towards who looks.
function projection(view) {
  const [sin, cos] = [Math.sin(view.turn), Math.cos(view.turn)];
  const [sinTilt, cosTilt] = [Math.sin(view.tilt), Math.cos(view.tilt)];
  return (at) => {
    if (at.length === 2) return { x: SIZE / 2 + at[0] * RADIUS, y: SIZE / 2 - at[1] * RADIUS, depth: 0 };
    const [x, y, z] = [cos * at[0] + sin * at[2], at[1], cos * at[2] - sin * at[0]];
    return {
      x: SIZE / 2 + x * RADIUS,
      y: SIZE / 2 - (cosTilt * y - sinTilt * z) * RADIUS,
      depth: sinTilt * y + cosTilt * z,
    };
  };
}

// Rows of a long array.
export function rows(numbers, width) {
  return Array.from({ length: numbers.length / width }, (_, row) => numbers.subarray(row * width, (row + 1) * width));
}

const length = (row) => Math.hypot(...row);

// Draws the samples and the places of the classes; returns where each sample is, for clicks.
export function drawEmbeddings(canvas, scene, view) {
  const pen = context(canvas, SIZE, SIZE);
  const project = projection(view);
  const { embeddings, places, labels, classes, truth, nearness } = scene;
  const angular = nearness === 'cosine';
  const directions = nearness !== 'distance';
  const flat = embeddings[0].length === 2;

  pen.lineWidth = 1;
  pen.strokeStyle = style('--line');
  pen.beginPath();
  pen.arc(SIZE / 2, SIZE / 2, RADIUS, 0, 2 * Math.PI);
  pen.stroke();
  if (!flat) for (const tilt of [-0.5, 0, 0.5]) ring(pen, project, tilt);

  // Lengths mean nothing to a head: all samples are shown at one, a little apart so that they do not hide each other.
  const spread = (sample) => 1 + (flat ? 0.1 * ((sample * 7919) % 23) / 23 : 0);
  const longest = angular ? 1 : Math.max(...embeddings.map(length)) || 1;
  const scaled = embeddings.map((row, sample) => {
    const factor = angular ? spread(sample) / (length(row) || 1) : 1.1 / longest;
    return project(Array.from(row, (number) => number * factor));
  });

  const each = places.length / classes;
  places.forEach((row, place) => {
    const colour = COLOURS[Math.floor(place / each) % COLOURS.length];
    const factor = directions ? 1 / (length(row) || 1) : 1.1 / longest;
    const end = project(Array.from(row, (number) => number * factor));
    pen.strokeStyle = colour;
    pen.fillStyle = colour;
    pen.globalAlpha = end.depth < 0 ? 0.35 : 0.9;
    pen.lineWidth = each > 1 ? 1 : 2;
    pen.beginPath();
    if (directions) {
      pen.moveTo(SIZE / 2, SIZE / 2);
      pen.lineTo(end.x, end.y);
      pen.stroke();
    } else {
      pen.fillRect(end.x - 6, end.y - 1.5, 12, 3);
      pen.fillRect(end.x - 1.5, end.y - 6, 3, 12);
    }
  });

  const order = scaled.map((_, sample) => sample).sort((a, b) => scaled[a].depth - scaled[b].depth);
  for (const sample of order) {
    const { x, y, depth } = scaled[sample];
    pen.globalAlpha = depth < 0 ? 0.3 : 0.85;
    pen.fillStyle = COLOURS[labels[sample] % COLOURS.length];
    pen.beginPath();
    pen.arc(x, y, 3.5, 0, 2 * Math.PI);
    pen.fill();
    if (labels[sample] !== truth[sample]) {
      pen.globalAlpha = 1;
      pen.lineWidth = 2.5;
      pen.strokeStyle = COLOURS[truth[sample] % COLOURS.length];
      pen.beginPath();
      pen.arc(x, y, 7, 0, 2 * Math.PI);
      pen.stroke();
    }
  }
  pen.globalAlpha = 1;
  if (view.chosen in scaled) {
    const { x, y } = scaled[view.chosen];
    pen.lineWidth = 2;
    pen.strokeStyle = style('--ink');
    pen.strokeRect(x - 9, y - 9, 18, 18);
  }
  return scaled;
}

function ring(pen, project, height) {
  const radius = Math.sqrt(1 - height * height);
  pen.globalAlpha = 0.5;
  pen.beginPath();
  for (let part = 0; part <= 64; part++) {
    const angle = part / 64 * 2 * Math.PI;
    const { x, y } = project([radius * Math.cos(angle), height, radius * Math.sin(angle)]);
    part ? pen.lineTo(x, y) : pen.moveTo(x, y);
  }
  pen.stroke();
  pen.globalAlpha = 1;
}

const PLOT = { width: 400, height: 130, left: 46, right: 8, top: 8, bottom: 22 };

function frame(canvas) {
  const pen = context(canvas, PLOT.width, PLOT.height);
  pen.font = '11px system-ui, sans-serif';
  pen.fillStyle = style('--soft');
  pen.strokeStyle = style('--line');
  pen.lineWidth = 1;
  const right = PLOT.width - PLOT.right;
  const bottom = PLOT.height - PLOT.bottom;
  pen.beginPath();
  pen.moveTo(PLOT.left, PLOT.top);
  pen.lineTo(PLOT.left, bottom);
  pen.lineTo(right, bottom);
  pen.stroke();
  return { pen, right, bottom };
}

const short = (number) => Number(number.toPrecision(3)).toString();

// `history`: pairs of step and loss.
export function drawCurve(canvas, history) {
  const { pen, right, bottom } = frame(canvas);
  if (history.length < 2) return;
  const end = history.at(-1)[0];
  const losses = history.map(([, loss]) => loss);
  const [low, high] = [Math.min(0, ...losses), Math.max(...losses)];
  const x = (step) => PLOT.left + step / end * (right - PLOT.left);
  const y = (loss) => bottom - (loss - low) / (high - low || 1) * (bottom - PLOT.top);
  pen.textAlign = 'right';
  pen.fillText(short(high), PLOT.left - 4, PLOT.top + 9);
  pen.fillText(short(low), PLOT.left - 4, bottom);
  pen.fillText(end, right, PLOT.height - 7);
  pen.textAlign = 'left';
  pen.fillText('step 0', PLOT.left, PLOT.height - 7);
  pen.strokeStyle = style('--accent');
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const [step, loss] of history) pen.lineTo(x(step), y(loss));
  pen.stroke();
}

// `angles` in radians, from 0 to π.
export function drawAngles(canvas, angles) {
  const { pen, right, bottom } = frame(canvas);
  const bars = 36;
  const counts = new Array(bars).fill(0);
  for (const angle of angles) counts[Math.min(bars - 1, Math.floor(angle / Math.PI * bars))]++;
  const highest = Math.max(...counts, 1);
  pen.textAlign = 'right';
  pen.fillText(highest, PLOT.left - 4, PLOT.top + 9);
  pen.textAlign = 'center';
  const width = (right - PLOT.left) / bars;
  ['0', 'π/4', 'π/2', '3π/4', 'π'].forEach((name, quarter) => {
    pen.fillText(name, Math.min(right - 4, PLOT.left + quarter / 4 * (right - PLOT.left)), PLOT.height - 7);
  });
  pen.fillStyle = style('--accent');
  counts.forEach((count, bar) => {
    const height = count / highest * (bottom - PLOT.top);
    pen.fillRect(PLOT.left + bar * width + 0.5, bottom - height, width - 1, height);
  });
}
