//! `report.html`: a run on one page, which needs no network and runs no script.

mod charts;
mod map;

use std::fmt::Write;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn::tensor::Device;
use image::{ImageFormat, RgbImage};

use super::report::Metrics;
use crate::data::face_set::{Face, FaceSet};
use crate::protocols::answers::{Answer, Answers, BINS};
use crate::protocols::rates::percent;
use crate::settings::config::TrainConfig;
use crate::training::epoch_table::EpochRow;
use charts::{Axis, Series, histograms, lines, scatter};

/// Pictures on the map of embeddings: more are a cloud.
const MOST_ON_MAP: usize = 600;

/// What a page is of.
pub(super) struct Page<'a> {
    pub(super) config: &'a TrainConfig,
    pub(super) metrics: &'a Metrics,
    pub(super) epochs: &'a [EpochRow],
    pub(super) test: &'a FaceSet,
    /// What became of the data, line by line.
    pub(super) found: &'a [String],
    pub(super) answers: &'a Answers,
    /// Of the test pictures, row by row.
    pub(super) embeddings: &'a [f32],
}

impl Page<'_> {
    /// The page.
    ///
    /// # Errors
    ///
    /// If a picture cannot be written, or the device not be read.
    pub(super) fn html(&self, device: &Device) -> Result<String> {
        let mut html = String::from(BEGIN);
        let verification = &self.metrics.verification;
        let _ = writeln!(
            html,
            "<p class=\"lead\">{} of pairs right (area under the curve {:.4}, equal error rate {}); before training {} \
             ({:.4}, {}).</p>",
            percent(verification.accuracy),
            verification.auc,
            percent(verification.eer),
            percent(self.metrics.untrained.accuracy),
            self.metrics.untrained.auc,
            percent(self.metrics.untrained.eer),
        );
        section(&mut html, "Training", &self.training());
        section(&mut html, "Verification", &self.verification());
        section(&mut html, "Hardest mistakes", &self.mistakes()?);
        section(&mut html, "Embeddings", &self.map(device)?);
        section(&mut html, "Figures", &format!("<pre>{}</pre>", escaped(&self.metrics.to_json()?)));
        section(&mut html, "Data", &format!("<pre>{}</pre>", escaped(&self.found.join("\n"))));
        section(&mut html, "Settings", &format!("<pre>{}</pre>", escaped(&self.config.to_json()?)));
        let versions = format!(
            "face-embedding {}, Burn 0.22; backend {}, seed {}",
            env!("CARGO_PKG_VERSION"),
            self.metrics.backend,
            self.metrics.seed
        );
        section(&mut html, "Versions", &format!("<p>{}</p>", escaped(&versions)));
        Ok(html + "</main></body></html>\n")
    }

    fn training(&self) -> String {
        let column = |of: fn(&EpochRow) -> f64| -> Vec<[f64; 2]> {
            self.epochs.iter().map(|row| [row.epoch as f64, of(row)]).collect()
        };
        let numbers = || self.epochs.iter().map(|row| row.epoch as f64);
        let epochs = || Axis { whole: true, ..Axis::around("epoch", numbers()) };
        let chart = |label: &'static str, series: Vec<Series<'_>>| {
            let up = Axis::around(label, series.iter().flat_map(|series| &series.points).map(|point| point[1]));
            lines(label, &epochs(), &up, &series)
        };
        let one = |class, name, points| Series { class, name, points };
        let loss = chart("loss", vec![one("one", "loss", column(|row| row.loss))]);
        let angles = chart(
            "angle in radians",
            vec![
                one("one", "to the own class", column(|row| row.mean_angle)),
                one("two", "to the nearest other", column(|row| row.nearest_other_angle)),
            ],
        );
        let rates = chart(
            "learning rate",
            vec![
                one("one", "trunk", column(|row| row.learning_rate)),
                one("two", "head", column(|row| row.head_learning_rate)),
            ],
        );
        let mut charts = vec![
            ("Loss", loss),
            ("Angles to the own class and to the nearest other", angles),
            ("Learning rates", rates),
        ];
        let measured = |of: fn(&EpochRow) -> Option<f64>| -> Vec<[f64; 2]> {
            self.epochs.iter().filter_map(|row| Some([row.epoch as f64, of(row)?])).collect()
        };
        let margins = measured(|row| row.margin);
        if margins.windows(2).any(|pair| pair[0][1] != pair[1][1]) {
            charts.push(("Margin", chart("margin", vec![one("one", "margin", margins)])));
        }
        let scales = measured(|row| row.scale);
        if scales.windows(2).any(|pair| pair[0][1] != pair[1][1]) {
            charts.push(("Scale", chart("scale", vec![one("one", "scale", scales)])));
        }
        let (areas, errors) = (measured(|row| row.validation_auc), measured(|row| row.validation_eer));
        if !areas.is_empty() {
            let area = chart("area under the curve", vec![one("one", "AUC", areas)]);
            charts.push(("Area under the curve, on the test people", area));
            charts.push(("Equal error rate, on the test people", chart("error rate", vec![one("two", "EER", errors)])));
        }
        figures(charts)
    }

    fn verification(&self) -> String {
        let smallest = self.answers.curve.first().map_or(1e-6, |point| point[0]);
        let rate = |label, from| Axis { label, from, to: 1.0, logarithmic: from > 0.0, whole: false };
        let (across, up) = (rate("false accept rate", smallest.min(0.1)), rate("true accept rate", 0.0));
        let curve = Series { class: "one", name: "all pairs", points: self.answers.curve.clone() };
        let bins = |shares: &[f64]| -> Vec<[f64; 2]> {
            shares.iter().enumerate().map(|(bin, &share)| [bin as f64 / BINS as f64 * 2.0 - 1.0, share]).collect()
        };
        let cosines = Axis { label: "cosine", from: -1.0, to: 1.0, logarithmic: false, whole: false };
        let shares = [
            Series { class: "one", name: "one person", points: bins(&self.answers.genuine) },
            Series { class: "two", name: "two people", points: bins(&self.answers.impostors) },
        ];
        let thresholds = format!("<pre>{}</pre>", escaped(&self.metrics.verification.thresholds.to_string()));
        figures([
            ("Receiver operating characteristic", lines("receiver operating characteristic", &across, &up, &[curve])),
            ("Scores of all pairs", histograms("scores of all pairs", &cosines, &shares)),
        ]) + &thresholds
    }

    fn mistakes(&self) -> Result<String> {
        let mut html = String::new();
        for (title, answers) in [
            ("One person, taken to be least alike", &self.answers.missed),
            ("Two people, taken to be most alike", &self.answers.confused),
        ] {
            let _ = writeln!(html, "<h3>{title}</h3>\n<div class=\"pairs\">");
            for Answer { pictures, cosine } in answers {
                let _ = writeln!(html, "<figure>");
                for &picture in pictures {
                    let face = &self.test.faces[picture];
                    let name = escaped(&self.test.people[face.person]);
                    let data = data_uri(face, self.test.size)?;
                    let _ = writeln!(html, "<img src=\"{data}\" alt=\"{name}\" title=\"{}\">", escaped(&file_of(face)));
                }
                let [one, other] = pictures.map(|picture| &self.test.people[self.test.faces[picture].person]);
                let names = if one == other { one.clone() } else { format!("{one}, {other}") };
                let _ = writeln!(html, "<figcaption>{cosine:.3}<br>{}</figcaption></figure>", escaped(&names));
            }
            let _ = writeln!(html, "</div>");
        }
        Ok(html)
    }

    fn map(&self, device: &Device) -> Result<String> {
        let faces = &self.test.faces;
        let dim = self.embeddings.len() / faces.len();
        // Of the first people, all their pictures.
        let shown = faces.len().min(MOST_ON_MAP);
        let plane = map::principal_plane(&self.embeddings[..shown * dim], dim, device)?;
        let points: Vec<_> = plane.into_iter().zip(faces).map(|(point, face)| (point, face.person)).collect();
        let people = points.last().map_or(0, |(_, person)| person + 1);
        let title = format!("{shown} test pictures of {people} people, a colour each, along their two main directions");
        Ok(figures([(title.as_str(), scatter(&title, &points))]))
    }
}

fn section(html: &mut String, title: &str, content: &str) {
    let _ = writeln!(html, "<section><h2>{title}</h2>\n{content}</section>");
}

fn figures<'a>(figures: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let figure = |(title, svg): (&str, String)| format!("<figure>{svg}<figcaption>{title}</figcaption></figure>\n");
    let all: String = figures.into_iter().map(figure).collect();
    format!("<div class=\"figures\">{all}</div>\n")
}

fn file_of(face: &Face) -> String {
    face.file.as_ref().map_or_else(|| "drawn".to_string(), |file| file.display().to_string())
}

/// A picture as an address that holds it.
fn data_uri(face: &Face, size: usize) -> Result<String> {
    let side = u32::try_from(size).context("a picture has a side of 32 bits")?;
    let picture =
        RgbImage::from_raw(side, side, face.pixels()?.to_vec()).context("a picture has three bytes a pixel")?;
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png).context("cannot write a picture of the report")?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png.into_inner())))
}

/// Text that a browser shows as it is, also in an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

const BEGIN: &str = r#"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>A face-embedding run</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --ink: #1c1c22; --paper: #fff; --faint: #dadae2; --one: #0072b2; --two: #d55e00; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf2; --paper: #17171c; --faint: #3b3b45; --one: #56b4e9; --two: #e69f00; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 32px; } .lead { font-size: 18px; }
figure { margin: 0; } figcaption { font-size: 13px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 20px; }
.pairs { display: flex; flex-wrap: wrap; gap: 14px; } .pairs img { width: 64px; height: 64px; image-rendering: auto; }
svg { width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.grid { stroke: var(--faint); } .line { fill: none; stroke-width: 2; } .line.one { stroke: var(--one); } .line.two { stroke: var(--two); stroke-dasharray: 6 4; }
.area { opacity: .55; } .area.one, .key.one { fill: var(--one); } .area.two, .key.two { fill: var(--two); }
pre { overflow: auto; max-height: 420px; border: 1px solid var(--faint); padding: 10px; font-size: 13px; }
</style></head><body><main><h1>A face-embedding run</h1>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_be_markup() {
        assert_eq!(escaped("<b a=\"x\">&'"), "&lt;b a=&quot;x&quot;&gt;&amp;&#39;");
    }
}
