//! The coefficients of a linear regression against the strength of three penalties.
//!
//! `cargo run --release -p stories --bin sparse-regression`

#![forbid(unsafe_code)]

use anyhow::Result;
use burn::tensor::Device;
use clap::Parser;
use stories::chart::{Axis, Chart, Ink, Series, svg};
use stories::sparse::{Method, TRUE, data, fit, zeros};
use stories::{Options, save};

const STEPS: usize = 300;

/// Draws the coefficients of a linear regression against the strength of three penalties.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> Result<()> {
    let options = Arguments::parse().options;
    let picture = options.picture("sparse-regression")?;
    let device = Device::flex().autodiff();
    let data = data(options.seed, &device);
    let strengths: Vec<f64> = (0..15).map(|step| 0.01 * 10_f64.powf(f64::from(step) / 5.0)).collect();

    let mut charts = Vec::new();
    let mut paths = Vec::new();
    for method in Method::ALL {
        let path: Vec<Vec<f64>> =
            strengths.iter().map(|&strength| fit(method, strength, STEPS, &data, &device)).collect();
        let series = (0..TRUE.len()).map(|feature| {
            let points = strengths.iter().zip(&path).map(|(&strength, weights)| (strength, weights[feature]));
            let matters = TRUE[feature] != 0.0;
            let name = if matters { format!("feature {feature}") } else { String::new() };
            Series {
                name,
                points: points.collect(),
                ink: if matters { Ink::Bright(feature) } else { Ink::Grey },
                joined: true,
            }
        });
        charts.push(Chart {
            title: method.name().to_owned(),
            labels: ["strength", "coefficient"],
            axes: [Axis::Logarithmic, Axis::Linear],
            series: series.collect(),
        });
        paths.push(path);
    }

    println!("exact zeros among {} coefficients, of which {} are 0 in truth:", TRUE.len(), zeros(&TRUE).len());
    println!(
        "{:>10} {:>20} {:>20} {:>6}",
        "strength",
        Method::ALL[0].name(),
        Method::ALL[1].name(),
        Method::ALL[2].name()
    );
    for (place, strength) in strengths.iter().enumerate() {
        let counts = [0, 1, 2].map(|method: usize| zeros(&paths[method][place]).len());
        println!("{strength:>10.3} {:>20} {:>20} {:>6}", counts[0], counts[1], counts[2]);
    }
    conclude(&strengths, &paths);
    save(&picture, &svg(&charts)?)
}

/// Says what the numbers show.
fn conclude(strengths: &[f64], paths: &[Vec<Vec<f64>>]) {
    let truth = zeros(&TRUE);
    let right = (0..strengths.len()).find(|&place| zeros(&paths[0][place]) == truth);
    match right {
        Some(place) => {
            let chosen: Vec<usize> = (0..TRUE.len()).filter(|feature| !truth.contains(feature)).collect();
            println!(
                "\nAt strength {:.3} the proximal step selects exactly the features {chosen:?} that matter.",
                strengths[place]
            );
        }
        None => println!("\nNo strength on this grid makes the proximal step select exactly the features that matter."),
    }
    let most = |method: usize| paths[method].iter().map(|weights| zeros(weights).len()).max().unwrap_or(0);
    println!(
        "Coefficients on exactly 0, at most: {} by the proximal step, {} by the subgradient of the same penalty, {} by L2.",
        most(0),
        most(1),
        most(2)
    );
    if most(1) == 0 && most(2) == 0 && most(0) > 0 {
        println!(
            "The subgradient jumps over 0 from step to step and L2 only shrinks; only the step after the optimizer stops at 0."
        );
    }
}
