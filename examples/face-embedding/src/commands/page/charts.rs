//! Charts as SVG, in the colours of the page.

use std::fmt::Write;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 260.0;
/// Room around the numbers, for ticks and labels.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;

/// Numbers along an axis, and where they are written.
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) logarithmic: bool,
    /// Whether it counts something.
    pub(super) whole: bool,
}

impl Axis {
    /// A straight axis around the numbers.
    pub(super) fn around(label: &'static str, numbers: impl Iterator<Item = f64>) -> Self {
        let numbers = numbers.filter(|number| number.is_finite());
        let (from, to) =
            numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), x| (least.min(x), most.max(x)));
        let (from, to) = if from <= to { (from, to) } else { (0.0, 1.0) };
        let room = if to > from { 0.0 } else { 0.5_f64.max(from.abs() * 0.1) };
        Self { label, from: from - room, to: to + room, logarithmic: false, whole: false }
    }

    /// The place of a number, from 0 to 1.
    fn place(&self, number: f64) -> f64 {
        let scaled = |number: f64| if self.logarithmic { number.ln() } else { number };
        (scaled(number) - scaled(self.from)) / (scaled(self.to) - scaled(self.from))
    }

    /// Numbers to write: powers of ten, or some five round ones.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let powers = self.from.log10().ceil() as i32..=self.to.log10().floor() as i32;
            return powers.map(|power| 10_f64.powi(power)).collect();
        }
        let rough = (self.to - self.from) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= rough);
        let step = step.unwrap_or(power).max(if self.whole { 1.0 } else { 0.0 });
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last).map(|place| place as f64 * step).collect()
    }
}

/// A line or an area by its class in the page's style, its name and its points.
pub(super) struct Series<'a> {
    pub(super) class: &'static str,
    pub(super) name: &'a str,
    pub(super) points: Vec<[f64; 2]>,
}

/// Lines through points; where a number is missing, the line has a gap.
pub(super) fn lines(title: &str, across: &Axis, up: &Axis, series: &[Series<'_>]) -> String {
    let mut svg = frame(title, across, up, series);
    for Series { class, points, .. } in series {
        for part in points.split(|point| point.iter().any(|number| !number.is_finite())) {
            let places: Vec<String> = part.iter().map(|&[x, y]| pair(across, up, x, y)).collect();
            let _ = writeln!(svg, r#"<polyline class="line {class}" points="{}"/>"#, places.join(" "));
        }
    }
    svg + "</svg>\n"
}

/// Shares of bins from -1 to 1 as areas over each other.
pub(super) fn histograms(title: &str, across: &Axis, series: &[Series<'_>]) -> String {
    let largest = series.iter().flat_map(|series| &series.points).map(|point| point[1]).fold(0.0, f64::max);
    let up = Axis { label: "share of pairs", from: 0.0, to: largest.max(1e-6), logarithmic: false, whole: false };
    let mut svg = frame(title, across, &up, series);
    for Series { class, points, .. } in series {
        let width = (across.to - across.from) / points.len() as f64;
        let steps = points.iter().flat_map(|&[x, y]| [[x, y], [x + width, y]]);
        let ends = [[across.from, 0.0], [across.to, 0.0]];
        let places = ends[..1].iter().copied().chain(steps).chain(ends[1..].iter().copied());
        let places: Vec<String> = places.map(|[x, y]| pair(across, &up, x, y)).collect();
        let _ = writeln!(svg, r#"<polygon class="area {class}" points="{}"/>"#, places.join(" "));
    }
    svg + "</svg>\n"
}

/// Points in colours of their own, without axes.
pub(super) fn scatter(title: &str, points: &[([f64; 2], usize)]) -> String {
    let of = |axis: usize| points.iter().map(move |(point, _)| point[axis]);
    let (across, up) = (Axis::around("", of(0)), Axis::around("", of(1)));
    let mut svg = begin(title);
    for &([x, y], group) in points {
        // Neighbouring groups have colours far apart: the golden angle.
        let hue = group as f64 * 137.508 % 360.0;
        let [x, y] = spot(&across, &up, x, y);
        let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" style="fill:hsl({hue:.0} 65% 50%)"/>"#);
    }
    svg + "</svg>\n"
}

fn begin(title: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#, super::escaped(title)) + "\n"
}

fn frame(title: &str, across: &Axis, up: &Axis, series: &[Series<'_>]) -> String {
    let mut svg = begin(title);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in across.ticks() {
        let [x, _] = spot(across, up, tick, up.from);
        let _ = writeln!(svg, r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}"/>"#);
        let _ = writeln!(svg, r#"<text x="{x:.1}" y="{}" text-anchor="middle">{}</text>"#, bottom + 16.0, plain(tick));
    }
    for tick in up.ticks() {
        let [_, y] = spot(across, up, across.from, tick);
        let _ = writeln!(svg, r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/>"#);
        let _ =
            writeln!(svg, r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#, LEFT - 6.0, y + 4.0, plain(tick));
    }
    let middle = (LEFT + right) / 2.0;
    let _ = writeln!(svg, r#"<text x="{middle}" y="{}" text-anchor="middle">{}</text>"#, HEIGHT - 8.0, across.label);
    let upright = (TOP + bottom) / 2.0;
    let _ = writeln!(
        svg,
        r#"<text transform="translate(12 {upright}) rotate(-90)" text-anchor="middle">{}</text>"#,
        up.label
    );
    // Above the numbers, beside each other.
    let (mut x, y) = (LEFT, TOP - 10.0);
    for Series { class, name, .. } in series {
        let _ = writeln!(svg, r#"<rect class="key {class}" x="{x}" y="{}" width="12" height="8"/>"#, y - 8.0);
        let _ = writeln!(svg, r#"<text x="{}" y="{y}">{}</text>"#, x + 18.0, super::escaped(name));
        x += 40.0 + 7.0 * name.chars().count() as f64;
    }
    svg
}

fn spot(across: &Axis, up: &Axis, x: f64, y: f64) -> [f64; 2] {
    let [x, y] = [across.place(x), up.place(y)].map(|place| place.clamp(0.0, 1.0));
    [LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)]
}

fn pair(across: &Axis, up: &Axis, x: f64, y: f64) -> String {
    let [x, y] = spot(across, up, x, y);
    format!("{x:.1},{y:.1}")
}

/// A round number without zeros that say nothing.
fn plain(number: f64) -> String {
    let text = format!("{number:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_string() } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_inside_the_axis() {
        let axis = |from, to, logarithmic| Axis { label: "", from, to, logarithmic, whole: false };
        let written = |axis: Axis| axis.ticks().into_iter().map(plain).collect::<Vec<_>>().join(" ");
        assert_eq!(written(axis(0.0, 1.0, false)), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(written(axis(-1.0, 1.0, false)), "-1 -0.5 0 0.5 1");
        assert_eq!(written(axis(0.003, 1.0, true)), "0.01 0.1 1");
        assert_eq!(written(Axis { whole: true, ..axis(1.0, 2.0, false) }), "1 2");
        // One number alone is in the middle.
        assert_eq!(Axis::around("", [3.0, 3.0].into_iter()).place(3.0), 0.5);
    }

    #[test]
    fn a_line_has_a_gap_where_a_number_is_missing() {
        let points = vec![[0.0, 1.0], [1.0, f64::NAN], [2.0, 2.0]];
        let axis = Axis { label: "", from: 0.0, to: 2.0, logarithmic: false, whole: false };
        let svg = lines("", &axis, &axis, &[Series { class: "one", name: "", points }]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(!svg.contains("NaN"), "{svg}");
    }
}
