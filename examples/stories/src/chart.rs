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

const WIDTH: u32 = 460;
const HEIGHT: u32 = 380;

/// The charts beside each other.
///
/// # Errors
///
/// If a chart has nothing to draw, or a number that is not finite.
pub fn svg(charts: &[Chart]) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH * charts.len() as u32, HEIGHT)).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        for (chart, part) in charts.iter().zip(area.split_evenly((1, charts.len()))) {
            draw(chart, &part)?;
        }
        area.present().map_err(drawing)?;
    }
    Ok(text)
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
        let color = match series.ink {
            Ink::Bright(place) => Palette99::pick(place).to_rgba(),
            Ink::Grey => RGBColor(190, 190, 190).to_rgba(),
        };
        let points = placed(series);
        let drawn = if series.joined {
            context.draw_series(LineSeries::new(points, color.stroke_width(2))).map_err(drawing)?
        } else {
            let dots = points.into_iter().map(|point| Circle::new(point, 2, color.filled()));
            context.draw_series(dots).map_err(drawing)?
        };
        if !series.name.is_empty() {
            let mark = move |(x, y)| Rectangle::new([(x, y - 4), (x + 14, y + 4)], color.filled());
            drawn.label(&series.name).legend(mark);
        }
    }
    if chart.series.iter().any(|series| !series.name.is_empty()) {
        // Where these charts are empty: curves fall to the right, and lines rise.
        let falls = chart.axes[1] == Axis::Logarithmic;
        let mut labels = context.configure_series_labels();
        labels.position(if falls { SeriesLabelPosition::UpperRight } else { SeriesLabelPosition::LowerRight });
        labels.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw().map_err(drawing)?;
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
    fn nothing_and_not_a_number_are_errors() {
        assert!(svg(&[chart(vec![], Axis::Linear)]).is_err());
        assert!(svg(&[chart(vec![(-1.0, 0.0)], Axis::Logarithmic)]).is_err());
        assert!(svg(&[chart(vec![(1.0, f64::NAN)], Axis::Linear)]).is_err());
    }
}
