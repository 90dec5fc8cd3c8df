//! Lines through points with outliers, by five losses and four ways to descend.
//!
//! `cargo run --release -p stories --bin robust-regression`

#![forbid(unsafe_code)]

use anyhow::Result;
use burn::tensor::Device;
use clap::Parser;
use stories::chart::{Axis, Chart, Ink, Series, svg};
use stories::robust::{Descent, Fit, Loss, TRUE, data, error, fit};
use stories::{Options, save};

const STEPS: usize = 600;

/// Fits lines through points with outliers by several losses and optimizers.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> Result<()> {
    let options = Arguments::parse().options;
    let picture = options.picture("robust-regression")?;
    let device = Device::flex().autodiff();
    let data = data(options.seed, &device);

    println!("true line: y = {}·x + {}", TRUE[0], TRUE[1]);
    println!(
        "\n{:<14} {:<14} {:>8} {:>8} {:>14} {:>12}",
        "loss", "descent", "slope", "height", "off at most by", "oscillation"
    );
    let mut fits: Vec<(Loss, Descent, Fit)> = Vec::new();
    for loss in Loss::ALL {
        for descent in Descent::ALL {
            let fit = fit(loss, descent, STEPS, &data, &device);
            let [slope, height] = fit.line;
            let (off, swing) = (error(fit.line), fit.oscillation());
            println!(
                "{:<14} {:<14} {slope:>8.3} {height:>8.3} {off:>14.3} {swing:>12.1e}",
                loss.name(),
                descent.name()
            );
            fits.push((loss, descent, fit));
        }
    }
    let of = |loss: Loss, descent: Descent| {
        let found = fits.iter().find(|(its_loss, its_descent, _)| (*its_loss, *its_descent) == (loss, descent));
        &found.expect("all were fitted").2
    };
    conclude(&of);
    save(&picture, &svg(&charts(&data, &of))?)
}

fn conclude<'a>(of: &impl Fn(Loss, Descent) -> &'a Fit) {
    let off = |loss| error(of(loss, Descent::DecayingSgd).line);
    println!(
        "\nWith a fifth of the points far off, the line of L2 is off by up to {:.2}, that of L1 by {:.2}, of Huber by {:.2} and of \
         the median by {:.2}.",
        off(Loss::L2),
        off(Loss::L1),
        off(Loss::Huber),
        off(Loss::Median)
    );
    let swing = |loss, descent| of(loss, descent).oscillation();
    let (constant, decaying) = (swing(Loss::L1, Descent::Sgd), swing(Loss::L1, Descent::DecayingSgd));
    let huber = swing(Loss::Huber, Descent::Sgd);
    let cured = |better: f64| if better < 0.5 * constant { "stills it" } else { "does not still it here" };
    println!(
        "L1's slope does not fall near the minimum: with a constant learning rate its loss still changes by {constant:.1e} per \
         step at the end. A decaying learning rate {} ({decaying:.1e}); Huber's round corner {} ({huber:.1e}).",
        cured(decaying),
        cured(huber)
    );
}

fn charts<'a>(
    data: &(burn::tensor::Tensor<2>, burn::tensor::Tensor<2>),
    of: &impl Fn(Loss, Descent) -> &'a Fit,
) -> Vec<Chart> {
    let numbers = |tensor: &burn::tensor::Tensor<2>| tensor.clone().try_into_vec_as::<f64>().expect("data can be read");
    let points = numbers(&data.0).into_iter().zip(numbers(&data.1)).collect();
    let mut lines = vec![Series { name: String::new(), points, ink: Ink::Grey, joined: false }];
    for (color, loss) in Loss::ALL.into_iter().enumerate() {
        let [slope, height] = of(loss, Descent::DecayingSgd).line;
        let points = vec![(-1.0, height - slope), (1.0, height + slope)];
        lines.push(Series { name: loss.name().to_owned(), points, ink: Ink::Bright(color), joined: true });
    }
    let chart = |title: &str, labels, axes, series| Chart { title: title.to_owned(), labels, axes, series };
    let curve = |loss: Loss, descent: Descent, name: &str, color| {
        let losses = &of(loss, descent).losses;
        let points = losses.iter().enumerate().map(|(step, loss)| (step as f64, *loss)).collect();
        Series { name: name.to_owned(), points, ink: Ink::Bright(color), joined: true }
    };
    let all = Descent::ALL.into_iter().enumerate();
    let l1 = all.map(|(color, descent)| curve(Loss::L1, descent, descent.name(), color)).collect();
    let tail = |loss: Loss, descent: Descent, name: &str, color| {
        let mut series = curve(loss, descent, name, color);
        let least = series.points.iter().map(|point| point.1).fold(f64::MAX, f64::min);
        series.points = series.points.split_off(STEPS - 60);
        series.points.iter_mut().for_each(|point| point.1 -= least);
        series
    };
    let ends = vec![
        tail(Loss::L1, Descent::Sgd, "L1, SGD", 0),
        tail(Loss::L1, Descent::DecayingSgd, "L1, SGD, decaying", 3),
        tail(Loss::Huber, Descent::Sgd, "Huber, SGD", 2),
    ];
    vec![
        chart("the lines", ["x", "y"], [Axis::Linear; 2], lines),
        chart("the loss of L1", ["step", "mean loss"], [Axis::Linear; 2], l1),
        chart("the last steps, above the least loss", ["step", "mean loss"], [Axis::Linear; 2], ends),
    ]
}
