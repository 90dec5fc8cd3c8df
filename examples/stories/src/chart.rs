//! Charts in a row, as one SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Evenly.
    Linear,
    /// By powers of ten; only what is above 0 can be drawn.
    Logarithmic,
}

/// Colors that differ in brightness, too (Okabe and Ito 2008, and two more).
const COLORS: [(u8, u8, u8); 10] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (0, 0, 0),
    (140, 86, 75),
    (128, 128, 0),
    (120, 60, 180),
];

impl Ink {
    fn color(self) -> RGBColor {
        match self {
            Self::Bright(place) => {
                let (red, green, blue) = COLORS[place % COLORS.len()];
                RGBColor(red, green, blue)
            }
            Self::Grey => RGBColor(150, 150, 150),
        }
    }
}

/// What a series is drawn in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// One of the colors that are easily told apart, by its place among them.
    Bright(usize),
    /// What the others stand before.
    Grey,
}

/// A line, or points.
pub struct Series {
    /// What it is; empty for one that the legend leaves out.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
    /// What it is drawn in.
    pub ink: Ink,
    /// Whether the points are joined.
    pub joined: bool,
}

/// One chart.
pub struct Chart {
    /// Above it.
    pub title: String,
    /// Below it and beside it.
    pub labels: [&'static str; 2],
    /// How its axes are divided.
    pub axes: [Axis; 2],
    /// What is in it.
    pub series: Vec<Series>,
}

/// Of a plot, and of what stands right of it.
const WIDTH: u32 = 430;
const LEGEND: u32 = 150;
const HEIGHT: u32 = 360;

/// The charts beside each other.
///
/// # Errors
///
/// If a chart has nothing to draw, or a number that is not finite.
pub fn svg(charts: &[Chart]) -> Result<String> {
    svg_in_columns(charts, charts.len())
}

/// The charts in rows of `columns`.
///
/// # Errors
///
/// As [`svg`].
pub fn svg_in_columns(charts: &[Chart], columns: usize) -> Result<String> {
    let (columns, rows) = (columns.max(1), charts.len().div_ceil(columns.max(1)));
    let mut text = String::new();
    {
        let size = ((WIDTH + LEGEND) * columns as u32, HEIGHT * rows as u32);
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        // A card of its own, legible before a dark page too.
        area.fill(&WHITE).map_err(drawing)?;
        for (chart, part) in charts.iter().zip(area.split_evenly((rows, columns))) {
            let (plot, legend) = part.split_horizontally(WIDTH);
            draw(chart, &plot)?;
            explain(chart, &legend)?;
        }
        area.present().map_err(drawing)?;
    }
    Ok(text)
}

/// Numbers beside 1, a bar each, from the first down.
///
/// # Errors
///
/// If there is none, or one that is not finite and larger than 0.
pub fn bars(title: &str, rows: &[(String, f64)]) -> Result<String> {
    const ROW: i32 = 17;
    const TOP: i32 = 44;
    const NAMES: i32 = 250;
    let length = f64::from((WIDTH + LEGEND) as i32 - NAMES - 60);
    let most = rows.iter().map(|row| row.1).fold(1.0, f64::max);
    anyhow::ensure!(!rows.is_empty(), "{title:?} has nothing to draw");
    anyhow::ensure!(rows.iter().all(|row| row.1.is_finite() && row.1 > 0.0), "{title:?} has a number that is no ratio");
    let mut text = String::new();
    {
        let height = (TOP + ROW * rows.len() as i32 + 12) as u32;
        let area = SVGBackend::with_string(&mut text, (WIDTH + LEGEND, height)).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        area.draw(&Text::new(title.to_owned(), (8, 10), ("sans-serif", 16))).map_err(drawing)?;
        let end = |number: f64| NAMES + (length * number / most).round() as i32;
        for (place, (name, number)) in rows.iter().enumerate() {
            let y = TOP + ROW * place as i32;
            let color = if *number <= 1.0 { Ink::Bright(0) } else { Ink::Bright(1) }.color();
            area.draw(&Text::new(name.clone(), (8, y), ("sans-serif", 12))).map_err(drawing)?;
            area.draw(&Rectangle::new([(NAMES, y), (end(*number), y + ROW - 5)], color.filled())).map_err(drawing)?;
            area.draw(&Text::new(short(*number), (end(*number) + 5, y), ("sans-serif", 12))).map_err(drawing)?;
        }
        let foot = TOP + ROW * rows.len() as i32;
        area.draw(&PathElement::new(vec![(end(1.0), TOP - 6), (end(1.0), foot)], BLACK.stroke_width(1)))
            .map_err(drawing)?;
        area.present().map_err(drawing)?;
    }
    Ok(text)
}

/// What the series are, beside the plot, so that nothing lies over the data.
fn explain(chart: &Chart, area: &Area<'_>) -> Result<()> {
    let named = chart.series.iter().filter(|series| !series.name.is_empty());
    for (place, series) in named.enumerate() {
        let y = 44 + 20 * place as i32;
        area.draw(&Rectangle::new([(0, y - 4), (14, y + 4)], series.ink.color().filled())).map_err(drawing)?;
        area.draw(&Text::new(series.name.clone(), (20, y - 7), ("sans-serif", 13))).map_err(drawing)?;
    }
    Ok(())
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the chart cannot be drawn: {error}")
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Coordinates are the numbers, or their decimal logarithms.
fn draw(chart: &Chart, area: &Area<'_>) -> Result<()> {
    let place = |axis: Axis, number: f64| if axis == Axis::Logarithmic { number.log10() } else { number };
    let visible =
        |&(x, y): &(f64, f64)| (chart.axes[0] == Axis::Linear || x > 0.0) && (chart.axes[1] == Axis::Linear || y > 0.0);
    let placed = |series: &Series| -> Vec<(f64, f64)> {
        let points = series.points.iter().filter(|point| visible(point));
        points.map(|&(x, y)| (place(chart.axes[0], x), place(chart.axes[1], y))).collect()
    };
    let all: Vec<(f64, f64)> = chart.series.iter().flat_map(placed).collect();
    anyhow::ensure!(!all.is_empty(), "the chart {:?} has nothing to draw", chart.title);
    anyhow::ensure!(
        all.iter().all(|(x, y)| x.is_finite() && y.is_finite()),
        "the chart {:?} has a number that is not finite",
        chart.title
    );
    let range = |number: fn(&(f64, f64)) -> f64| {
        let (least, most) = all.iter().map(number).fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
        let room = 0.04 * (most - least).max(1e-9);
        least - room..most + room
    };
    let mut context = ChartBuilder::on(area)
        .caption(&chart.title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(range(|point| point.0), range(|point| point.1))
        .map_err(drawing)?;
    let label = |axis: Axis| {
        move |number: &f64| -> String { short(if axis == Axis::Logarithmic { 10_f64.powf(*number) } else { *number }) }
    };
    context
        .configure_mesh()
        .x_desc(chart.labels[0])
        .y_desc(chart.labels[1])
        .x_label_formatter(&label(chart.axes[0]))
        .y_label_formatter(&label(chart.axes[1]))
        .x_labels(5)
        .y_labels(6)
        .light_line_style(WHITE)
        .draw()
        .map_err(drawing)?;
    for series in &chart.series {
        let color = series.ink.color();
        let points = placed(series);
        if series.joined {
            context.draw_series(LineSeries::new(points, color.stroke_width(2))).map_err(drawing)?;
        } else {
            let dots = points.into_iter().map(|point| Circle::new(point, 3, color.filled()));
            context.draw_series(dots).map_err(drawing)?;
        }
    }
    Ok(())
}

/// A number with three digits, and no more zeros than it needs.
fn short(number: f64) -> String {
    // The 0 of an axis is what the steps to it left over.
    let number = if number.abs() < 1e-12 { 0.0 } else { number };
    let rounded: f64 = format!("{number:.2e}").parse().expect("a number is read as it was written");
    let size = rounded.abs();
    if size != 0.0 && !(1e-3..1e5).contains(&size) { format!("{rounded:e}") } else { rounded.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_an_axis_are_short() {
        let numbers = [540.0, 0.01, -0.75, 31.6228, 2e-4, 1.0e6, -1.7e-18];
        assert_eq!(numbers.map(short), ["540", "0.01", "-0.75", "31.6", "2e-4", "1e6", "0"]);
    }

    fn chart(points: Vec<(f64, f64)>, axis: Axis) -> Chart {
        let series = Series { name: "a & b".to_owned(), points, ink: Ink::Bright(0), joined: true };
        Chart { title: "title".to_owned(), labels: ["x", "y"], axes: [axis, Axis::Linear], series: vec![series] }
    }

    #[test]
    fn a_chart_is_an_svg_with_its_words() {
        let text = svg(&[chart(vec![(1.0, 2.0), (2.0, 3.0)], Axis::Logarithmic)]).expect("an SVG");
        assert!(text.starts_with("<svg") && text.contains("title") && text.contains("a &amp; b"), "{text}");
    }

    #[test]
    fn bars_name_their_rows() {
        let text = bars("title", &[("first".to_owned(), 0.5), ("second".to_owned(), 2.0)]).expect("an SVG");
        assert!(text.contains("first") && text.contains("0.5") && text.contains("second"), "{text}");
        assert!(bars("title", &[]).is_err() && bars("title", &[(String::new(), f64::NAN)]).is_err());
    }

    #[test]
    fn nothing_and_not_a_number_are_errors() {
        assert!(svg(&[chart(vec![], Axis::Linear)]).is_err());
        assert!(svg(&[chart(vec![(-1.0, 0.0)], Axis::Logarithmic)]).is_err());
        assert!(svg(&[chart(vec![(1.0, f64::NAN)], Axis::Linear)]).is_err());
    }
}
